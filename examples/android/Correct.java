import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;

/** What an app does once its user says "these are class LABEL": java Correct PLAN SAMPLES.raw LABEL STATE. */
public final class Correct {
    public static void main(String[] words) throws Exception {
        byte[] raw = Files.readAllBytes(Path.of(words[1]));
        int label = Integer.parseInt(words[2]);
        try (Mest mest = new Mest(Files.readAllBytes(Path.of(words[0])))) {
            int count = Math.min(raw.length / mest.sampleBytes, mest.batchSize);
            ByteBuffer pixels = ByteBuffer.allocateDirect(count * mest.sampleBytes);
            pixels.put(raw, 0, count * mest.sampleBytes);
            int[] labels = new int[count];
            Arrays.fill(labels, label);
            int steps = 0;
            while (seenAs(label, mest.predict(pixels, count), mest.classes) < count && steps < 50) {
                mest.trainStep(pixels, labels, 0.01);
                steps++;
            }
            mest.save(words[3]);
            System.out.println(steps + " steps to " + mest.className(label));
        } catch (Mest.Refused refused) {
            System.err.println(refused.getMessage());
            System.exit(refused.code);
        }
    }

    private static int seenAs(int label, float[] scores, int classes) {
        int seen = 0;
        for (int at = 0; at < scores.length; at += classes) {
            int best = 0;
            for (int k = 1; k < classes; k++) if (scores[at + k] > scores[at + best]) best = k;
            if (best == label) seen++;
        }
        return seen;
    }
}
