/* The C side of Mest.java: what the library refuses becomes an exception with its line. */
#include <jni.h>
#include <libmest.h>
#include <stdint.h>

#define MEST(name) JNIEXPORT JNICALL Java_Mest_##name

static LibmestModel *model_of(jlong handle) { return (LibmestModel *)(intptr_t)handle; }

static void refuse(JNIEnv *env, int code, const char *line) {
    jclass kind = (*env)->FindClass(env, "Mest$Refused");
    if (!kind) return; /* that it was not found is thrown already */
    jmethodID made = (*env)->GetMethodID(env, kind, "<init>", "(ILjava/lang/String;)V");
    jstring text = (*env)->NewStringUTF(env, line);
    if (!made || !text) return;
    jobject refused = (*env)->NewObject(env, kind, made, (jint)code, text);
    if (refused) (*env)->Throw(env, (jthrowable)refused);
}

static LibmestFacts facts_of(const LibmestModel *model) {
    LibmestFacts facts = {.bytes = sizeof facts};
    libmest_facts(model, &facts);
    return facts;
}

static int64_t sample_bytes(const LibmestFacts *f) { return (int64_t)f->channels * f->height * f->width; }

/* Pixels of a direct buffer; 0, with an exception thrown, where it does not hold so many. */
static int samples_of(JNIEnv *env, const LibmestModel *model, jobject pixels, jint count, LibmestSamples *samples) {
    const LibmestFacts facts = facts_of(model);
    *samples = (LibmestSamples){.bytes = sizeof *samples, .kind = LIBMEST_UINT8, .count = count};
    samples->numbers = (*env)->GetDirectBufferAddress(env, pixels);
    if (samples->numbers && count > 0 && (*env)->GetDirectBufferCapacity(env, pixels) / sample_bytes(&facts) >= count) return 1;
    refuse(env, LIBMEST_BAD_INPUT, "pixels: not a direct buffer that holds so many samples");
    return 0;
}

jlong MEST(open)(JNIEnv *env, jclass self, jobject plan) {
    (void)self;
    LibmestModel *model = NULL;
    const void *bytes = (*env)->GetDirectBufferAddress(env, plan);
    int code = libmest_open_bytes(bytes, (size_t)(*env)->GetDirectBufferCapacity(env, plan), &model);
    if (!code && !facts_of(model).images) {
        refuse(env, LIBMEST_BAD_INPUT, "plan: is of no images; this class takes pixels");
        libmest_close(model);
        return 0;
    }
    if (!code) code = libmest_prepare(model, LIBMEST_FOR_TRAINING, 0);
    if (!code) return (jlong)(intptr_t)model;
    refuse(env, code, libmest_message(model));
    libmest_close(model);
    return 0;
}

jintArray MEST(facts)(JNIEnv *env, jclass self, jlong handle) {
    (void)self;
    const LibmestFacts facts = facts_of(model_of(handle));
    const jint found[] = {facts.batch_size, facts.classes, (jint)sample_bytes(&facts)};
    jintArray made = (*env)->NewIntArray(env, 3);
    if (made) (*env)->SetIntArrayRegion(env, made, 0, 3, found);
    return made;
}

jfloatArray MEST(predict)(JNIEnv *env, jclass self, jlong handle, jobject pixels, jint count) {
    (void)self;
    LibmestModel *model = model_of(handle);
    LibmestSamples samples;
    if (!samples_of(env, model, pixels, count, &samples)) return NULL;
    jfloatArray made = (*env)->NewFloatArray(env, count * facts_of(model).classes);
    jfloat *scores = made ? (*env)->GetFloatArrayElements(env, made, NULL) : NULL;
    if (!scores) return NULL;
    const int code = libmest_predict(model, &samples, scores);
    (*env)->ReleaseFloatArrayElements(env, made, scores, 0);
    if (!code) return made;
    refuse(env, code, libmest_message(model));
    return NULL;
}

jdouble MEST(trainStep)(JNIEnv *env, jclass self, jlong handle, jobject pixels, jintArray labels, jdouble rate) {
    (void)self;
    LibmestModel *model = model_of(handle);
    LibmestSamples samples;
    double loss = 0;
    if (!samples_of(env, model, pixels, (*env)->GetArrayLength(env, labels), &samples)) return 0;
    jint *numbers = (*env)->GetIntArrayElements(env, labels, NULL);
    if (!numbers) return 0;
    samples.labels = (const int32_t *)numbers;
    const int code = libmest_train_step(model, &samples, rate, &loss, NULL);
    (*env)->ReleaseIntArrayElements(env, labels, numbers, JNI_ABORT);
    if (code) refuse(env, code, libmest_message(model));
    return loss;
}

jstring MEST(className)(JNIEnv *env, jclass self, jlong handle, jint number) {
    (void)self;
    const char *name = libmest_class_name(model_of(handle), number);
    return name ? (*env)->NewStringUTF(env, name) : NULL;
}

/* A function of the library over a path of Java's. */
static void with_path(JNIEnv *env, jlong handle, jstring path, int (*does)(LibmestModel *, const char *)) {
    LibmestModel *model = model_of(handle);
    const char *text = (*env)->GetStringUTFChars(env, path, NULL);
    if (!text) return;
    const int code = does(model, text);
    (*env)->ReleaseStringUTFChars(env, path, text);
    if (code) refuse(env, code, libmest_message(model));
}

void MEST(save)(JNIEnv *env, jclass self, jlong handle, jstring path) {
    (void)self;
    with_path(env, handle, path, libmest_save_path);
}

void MEST(load)(JNIEnv *env, jclass self, jlong handle, jstring path) {
    (void)self;
    with_path(env, handle, path, libmest_load_path);
}

void MEST(close)(JNIEnv *env, jclass self, jlong handle) {
    (void)env, (void)self;
    libmest_close(model_of(handle));
}
