package rival;

import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.StatementSet;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.api.TableResult;

/**
 * WithFlink EVENTS COUNT TOTALS WORKERS: the same outputs in Flink SQL, within this process and with its state on the heap.
 *
 * <p>COUNT events in bulk, then a thousand more for each further line of TOTALS, which says what the sinks must add up to. A stream
 * does not say when it is done: the clock runs until the last change after which the totals were right.
 */
public class WithFlink {
    static final OperatingSystemMXBean SYSTEM = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    static final Duration MINI_BATCH = Duration.ofMillis(20);
    static double processorsAtLastChange;
    static long lastChange;

    public static void main(String[] arguments) {
        try {
            measure(Path.of(arguments[0]), Long.parseLong(arguments[1]), Files.readAllLines(Path.of(arguments[2])), arguments[3]);
            System.exit(0); // the threads of the cluster would keep the process
        } catch (Throwable error) {
            error.printStackTrace();
            System.exit(1);
        }
    }

    static void measure(Path events, long count, List<String> totals, String workers) throws Exception {
        TableResult job = submit(events, workers);
        while (EventConnector.READY.get() < Integer.parseInt(workers)) Thread.sleep(10);
        Thread.sleep(1000);
        long start = System.nanoTime();
        double used = processors();
        EventConnector.LIMIT = count;
        awaitTotals(totals.get(0), 600);
        double loadSeconds = (lastChange - start) / 1e9, loadProcessors = processorsAtLastChange - used;
        String loaded = totals();
        double[] refreshes = new double[totals.size() - 1];
        for (int k = 0; k < refreshes.length; k++) {
            Thread.sleep(100 + (long) (Math.random() * MINI_BATCH.toMillis())); // no fixed phase against the timer of mini-batches
            start = System.nanoTime();
            EventConnector.LIMIT += 1000;
            awaitTotals(totals.get(k + 1), 60);
            refreshes[k] = (lastChange - start) / 1e9;
        }
        Arrays.sort(refreshes);
        System.out.printf(Locale.ROOT, "{\"engine\": \"Flink SQL 2.3.0, heap state\", \"load_seconds\": %f, \"load_processor_seconds\": %f,"
                + " \"load_totals\": %s, \"refresh_seconds\": %f, \"refresh_totals\": %s, \"peak_megabytes\": %f}%n",
            loadSeconds, loadProcessors, json(loaded), refreshes[refreshes.length / 2], json(totals()), peakMegabytes());
        job.getJobClient().get().cancel().get();
    }

    static TableResult submit(Path events, String workers) {
        Configuration configuration = new Configuration();
        configuration.setString("execution.target", "local");
        configuration.setString("execution.buffer-timeout.interval", "5ms");
        configuration.setString("pipeline.object-reuse", "true");
        configuration.setString("parallelism.default", workers);
        configuration.setString("table.exec.mini-batch.enabled", "true");
        configuration.setString("table.exec.mini-batch.allow-latency", MINI_BATCH.toMillis() + " ms");
        configuration.setString("table.exec.mini-batch.size", "50000");
        // without this the planner pushes two different projections below the deduplication and keeps its state twice
        configuration.setString("table.optimizer.reuse-optimize-block-with-digest-enabled", "true");
        configuration.setString("table.exec.deduplicate.mini-batch.compact-changes-enabled", "true");
        configuration.setString("taskmanager.memory.network.min", "256m");
        configuration.setString("taskmanager.memory.network.max", "256m");
        configuration.setString("taskmanager.memory.managed.size", "64m");
        TableEnvironment tables =
            TableEnvironment.create(EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(configuration).build());
        // declared as the row's event time, the revision lets the ROW_NUMBER below be planned as a deduplication
        tables.executeSql("create table ev (k1 bigint not null, k2 bigint not null, rev int not null, kind int not null,"
            + " cust int not null, meter int not null, dim int not null, tm int not null, qty bigint not null,"
            + " rt as to_timestamp_ltz(rev, 3), watermark for rt as source_watermark()) with ('connector'='ev','file'='" + events + "')");
        tables.executeSql("create table hourly_out (cust int, meter int, dim int, hr int, n bigint, s bigint) with ('connector'='ev','id'='0')");
        tables.executeSql("create table charge_out (cust int, meter int, cents bigint) with ('connector'='ev','id'='1')");
        tables.executeSql("create table invoice_out (cust int, total bigint) with ('connector'='ev','id'='2')");
        tables.executeSql("create view live as select cust, meter, dim, tm / 3600 as hr, qty from (select *,"
            + " row_number() over (partition by k1, k2 order by rt desc) as rn from ev) where rn = 1 and kind = 0");
        tables.executeSql("create view charge as select cust, meter, ((least(s, 1000000000) * 5"
            + " + greatest(least(s, 100000000000) - 1000000000, 0) * 3 + greatest(s - 100000000000, 0)) * (meter + 1) + 5000000) / 10000000"
            + " as cents from (select cust, meter, sum(qty) as s from live group by cust, meter)");
        StatementSet outputs = tables.createStatementSet();
        outputs.addInsertSql("insert into hourly_out select cust, meter, dim, hr, count(*), sum(qty) from live group by cust, meter, dim, hr");
        outputs.addInsertSql("insert into charge_out select * from charge");
        outputs.addInsertSql("insert into invoice_out select cust, t - case when mod(cust, 7) = 0 then least(t, 5000) else 0 end"
            + " from (select cust, sum(cents) as t from charge group by cust)");
        return outputs.execute();
    }

    /** Looks each millisecond whether the totals are right. */
    static void awaitTotals(String wanted, int secondsMax) throws InterruptedException {
        long seen = changes(), end = System.nanoTime() + secondsMax * 1_000_000_000L;
        while (!totals().equals(wanted)) {
            Thread.sleep(1);
            long changes = changes();
            if (changes != seen) {
                seen = changes;
                lastChange = System.nanoTime();
                processorsAtLastChange = processors();
            }
            if (System.nanoTime() > end) throw new IllegalStateException("wanted " + wanted + ", got " + totals());
        }
    }

    static long changes() {
        return EventConnector.CHANGES[0].sum() + EventConnector.CHANGES[1].sum() + EventConnector.CHANGES[2].sum();
    }

    static String totals() {
        return "(" + EventConnector.ROWS[0].sum() + ", " + EventConnector.SUM[0].sum() + ", " + EventConnector.SUM[1].sum() + ", "
            + EventConnector.SUM[2].sum() + ")";
    }

    static String json(String totals) {
        return totals.replace('(', '[').replace(')', ']');
    }

    static double processors() {
        return SYSTEM.getProcessCpuTime() / 1e9;
    }

    static double peakMegabytes() throws Exception {
        for (String line : Files.readAllLines(Path.of("/proc/self/status")))
            if (line.startsWith("VmHWM")) return Long.parseLong(line.split("\\s+")[1]) * 1.024e-3;
        return 0;
    }
}
