package rival;

import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.LongAdder;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.legacy.table.connector.source.SourceFunctionProvider;
import org.apache.flink.runtime.state.FunctionInitializationContext;
import org.apache.flink.runtime.state.FunctionSnapshotContext;
import org.apache.flink.streaming.api.checkpoint.CheckpointedFunction;
import org.apache.flink.streaming.api.functions.sink.legacy.RichSinkFunction;
import org.apache.flink.streaming.api.functions.source.legacy.RichParallelSourceFunction;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.sink.DynamicTableSink;
import org.apache.flink.table.connector.sink.legacy.SinkFunctionProvider;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.connector.source.ScanTableSource;
import org.apache.flink.table.connector.source.abilities.SupportsSourceWatermark;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.binary.BinaryRowData;
import org.apache.flink.table.data.writer.BinaryRowWriter;
import org.apache.flink.table.factories.DynamicTableSinkFactory;
import org.apache.flink.table.factories.DynamicTableSourceFactory;
import org.apache.flink.types.RowKind;

/** Table connector 'ev': the source reads the events from their file of 48 bytes each, the sink keeps the totals of a changelog. */
public class EventConnector implements DynamicTableSourceFactory, DynamicTableSinkFactory {
    /** Shared with the driver in the same JVM: sources emit events below LIMIT, then wait for it to grow. */
    public static volatile long LIMIT = 0;
    public static final AtomicInteger READY = new AtomicInteger();
    public static final LongAdder[] ROWS = adders(), SUM = adders(), CHANGES = adders();

    static LongAdder[] adders() { return new LongAdder[] {new LongAdder(), new LongAdder(), new LongAdder()}; }

    static final ConfigOption<String> FILE = ConfigOptions.key("file").stringType().defaultValue("");
    static final ConfigOption<Integer> ID = ConfigOptions.key("id").intType().defaultValue(0);

    public String factoryIdentifier() { return "ev"; }
    public Set<ConfigOption<?>> requiredOptions() { return Set.of(); }
    public Set<ConfigOption<?>> optionalOptions() { return Set.of(FILE, ID); }
    static String opt(Context c, String k) { return c.getCatalogTable().getOptions().get(k); }

    public DynamicTableSource createDynamicTableSource(Context c) { return new Source(opt(c, "file")); }
    public DynamicTableSink createDynamicTableSink(Context c) {
        return new Sink(Integer.parseInt(opt(c, "id")), c.getCatalogTable().getResolvedSchema().getColumnCount() - 1);
    }

    record Source(String file) implements ScanTableSource, SupportsSourceWatermark {
        public void applySourceWatermark() {} // the reader always emits them; a table without a watermark ignores them
        public ChangelogMode getChangelogMode() { return ChangelogMode.insertOnly(); }
        public ScanRuntimeProvider getScanRuntimeProvider(ScanContext c) { return SourceFunctionProvider.of(new Reader(file), false); }
        public DynamicTableSource copy() { return this; }
        public String asSummaryString() { return "ev"; }
    }

    record Sink(int id, int col) implements DynamicTableSink {
        public ChangelogMode getChangelogMode(ChangelogMode m) { return ChangelogMode.all(); }
        public SinkRuntimeProvider getSinkRuntimeProvider(Context c) { return SinkFunctionProvider.of(new Totals(id, col)); }
        public DynamicTableSink copy() { return this; }
        public String asSummaryString() { return "totals"; }
    }

    /** Columns k1 k2 rev kind cust meter dim tm qty; subtask s of p reads events i with i % p = s. */
    static class Reader extends RichParallelSourceFunction<RowData> implements CheckpointedFunction {
        final String file;
        volatile boolean run = true;
        long next = -1;
        transient ListState<Long> saved;

        Reader(String file) { this.file = file; }

        public void run(SourceContext<RowData> ctx) throws Exception {
            int p = getRuntimeContext().getTaskInfo().getNumberOfParallelSubtasks();
            if (next < 0) next = getRuntimeContext().getTaskInfo().getIndexOfThisSubtask();
            MappedByteBuffer b;
            try (FileChannel f = FileChannel.open(Path.of(file))) { b = f.map(FileChannel.MapMode.READ_ONLY, 0, f.size()); }
            b.order(ByteOrder.LITTLE_ENDIAN);
            BinaryRowData row = new BinaryRowData(9);
            BinaryRowWriter w = new BinaryRowWriter(row);
            READY.incrementAndGet();
            for (long mark = 0; run; ) {
                long end = LIMIT, now = System.currentTimeMillis();
                // wall-clock watermarks only drive the mini-batches of the rowtime plan; nothing in it drops late rows
                if (now > mark) synchronized (ctx.getCheckpointLock()) { ctx.emitWatermark(new Watermark(mark = now)); }
                if (next >= end) { Thread.sleep(0, 200_000); continue; }
                synchronized (ctx.getCheckpointLock()) {
                    for (int n = 0; n < 64 && next < end; n++, next += p) {
                        int o = (int) (next * 48);
                        w.reset();
                        w.writeLong(0, b.getLong(o));
                        w.writeLong(1, b.getLong(o + 8));
                        w.writeInt(2, b.getShort(o + 36) & 0xffff);
                        w.writeInt(3, b.get(o + 39));
                        w.writeInt(4, b.getInt(o + 28));
                        w.writeInt(5, b.get(o + 38));
                        w.writeInt(6, b.get(o + 40) + 4 * (b.get(o + 41) + 3 * b.get(o + 42)));
                        w.writeInt(7, b.getInt(o + 24));
                        w.writeLong(8, b.getLong(o + 16));
                        w.complete();
                        ctx.collect(row);
                    }
                }
            }
        }
        public void cancel() { run = false; }
        public void snapshotState(FunctionSnapshotContext c) throws Exception { saved.update(java.util.List.of(next)); }
        public void initializeState(FunctionInitializationContext c) throws Exception {
            saved = c.getOperatorStateStore().getListState(new ListStateDescriptor<>("next", Long.class));
            for (long x : saved.get()) next = x;
        }
    }

    static class Totals extends RichSinkFunction<RowData> {
        final int id, col;
        Totals(int id, int col) { this.id = id; this.col = col; }
        public void invoke(RowData r, Context c) {
            boolean add = r.getRowKind() == RowKind.INSERT || r.getRowKind() == RowKind.UPDATE_AFTER;
            ROWS[id].add(add ? 1 : -1);
            SUM[id].add(add ? r.getLong(col) : -r.getLong(col));
            CHANGES[id].increment();
        }
    }
}
