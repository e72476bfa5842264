import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * A compiled plan in an Android app (or any Java program): predict, train, save. The glue is mest_jni.c.
 *
 * <p>Samples are direct buffers of raw pixels, [sample][channel][row][column], so that nothing is copied. A model may be
 * used by one thread at a time, and not by the one that draws: a step takes milliseconds to seconds.
 */
public final class Mest implements AutoCloseable {
    /** What the library refused, with its line; `code` is 2 for bad input, 3 for memory, 4 for a damaged file. */
    public static final class Refused extends RuntimeException {
        public final int code;

        public Refused(int code, String line) {
            super(line);
            this.code = code;
        }
    }

    static {
        System.loadLibrary("mest_jni");
    }

    private final ByteBuffer plan; // stays while the model reads from it
    private long handle;
    public final int batchSize;
    public final int classes;
    public final int sampleBytes;

    /** Opens a plan, for example of the app's assets, and asks for all memory that predicting and training takes. */
    public Mest(byte[] bytes) {
        plan = ByteBuffer.allocateDirect(bytes.length).order(ByteOrder.nativeOrder());
        plan.put(bytes);
        handle = open(plan);
        int[] facts = facts(handle);
        batchSize = facts[0];
        classes = facts[1];
        sampleBytes = facts[2];
    }

    /** Scores of every class, one sample after the other. */
    public float[] predict(ByteBuffer pixels, int count) {
        return predict(alive(), pixels, count);
    }

    /** One optimizer step over 1 to batchSize samples; their mean loss. */
    public double trainStep(ByteBuffer pixels, int[] labels, double learningRate) {
        return trainStep(alive(), pixels, labels, learningRate);
    }

    public String className(int number) {
        return className(alive(), number);
    }

    /** Replaces the file as a whole, or not at all. */
    public void save(String path) {
        save(alive(), path);
    }

    public void load(String path) {
        load(alive(), path);
    }

    @Override
    public void close() {
        if (handle != 0) close(handle);
        handle = 0;
    }

    private long alive() {
        if (handle == 0) throw new IllegalStateException("the model is closed");
        return handle;
    }

    private static native long open(ByteBuffer plan);

    private static native int[] facts(long handle);

    private static native float[] predict(long handle, ByteBuffer pixels, int count);

    private static native double trainStep(long handle, ByteBuffer pixels, int[] labels, double learningRate);

    private static native String className(long handle, int number);

    private static native void save(long handle, String path);

    private static native void load(long handle, String path);

    private static native void close(long handle);
}
