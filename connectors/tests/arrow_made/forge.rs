//! Forges the messages of a stream, each time the last of them unless a line says otherwise.
//!
//! ```text
//! rows N             the batch claims to have so many
//! node I length N    column I claims to have so many rows; `node I nulls N`; `node drop`
//! buffer I length N  buffer I claims so much; `buffer I offset N`; `buffer I byte P X`; `buffer drop`
//! compress zstd      compresses every buffer; `compress lz4`, `compress none` says so and does not
//! claim I N          compressed buffer I claims to have so many bytes
//! bomb zstd I N      buffer I is N zeros, compressed, and claims to have 16
//! views N            a column of views claims so many buffers
//! body cut N         the body lacks its last bytes; `header cut N`, `header set P X`
//! drop schema        without the schema; `drop dictionary`
//! again schema       the schema twice; `again dictionary`, `again rows`; `dictionary delta`, `dictionary id N`
//! tensor             a message of another kind
//! ```

use std::io::Write;

use arrow_ipc::{
    BodyCompression, BodyCompressionArgs, BodyCompressionMethod, Buffer, CompressionType, DictionaryBatch,
    DictionaryBatchArgs, FieldNode, Message as Header, MessageArgs, MessageHeader, MetadataVersion, RecordBatch,
    RecordBatchArgs, Tensor, TensorArgs, root_as_message,
};
use flatbuffers::FlatBufferBuilder;

use super::Message;

/// Forges messages as a line says.
pub fn forge(messages: &mut Vec<Message>, what: &str) {
    let words: Vec<&str> = what.split(' ').collect();
    match words[..] {
        ["drop", kind] => messages.retain(|message| message.kind() != kind_of(kind)),
        ["again", kind] => {
            let place = messages.iter().position(|message| message.kind() == kind_of(kind)).expect("it is there");
            messages.insert(place, messages[place].clone());
        }
        ["dictionary", ref rest @ ..] => {
            let is_dictionary = |message: &&mut Message| message.kind() == MessageHeader::DictionaryBatch;
            let message = messages.iter_mut().find(is_dictionary).expect("there is a dictionary");
            let mut batch = Batch::of(message);
            match rest {
                ["delta"] => batch.is_delta = true,
                ["id", id] => batch.dictionary = Some(id.parse().expect("an id")),
                rest => batch.forge(&mut message.body, rest),
            }
            message.header = batch.header(message.body.len());
        }
        ["tensor"] => messages.last_mut().expect("there is one").header = tensor(),
        ["body", "cut", bytes] => {
            let body = &mut messages.last_mut().expect("there is one").body;
            body.truncate(body.len() - bytes.parse::<usize>().expect("a count"));
        }
        ["header", "cut", bytes] => {
            let header = &mut messages.last_mut().expect("there is one").header;
            header.truncate(header.len() - bytes.parse::<usize>().expect("a count"));
        }
        ["header", "set", place, byte] => {
            let header = &mut messages.last_mut().expect("there is one").header;
            header[place.parse::<usize>().expect("a place")] = u8::from_str_radix(byte, 16).expect("a byte");
        }
        ["header", "long", bytes] => {
            messages.last_mut().expect("there is one").header.resize(bytes.parse().expect("a count"), 0);
        }
        _ => {
            let message = messages.last_mut().expect("there is one");
            let mut batch = Batch::of(message);
            batch.forge(&mut message.body, &words);
            message.header = batch.header(message.body.len());
        }
    }
}

fn kind_of(name: &str) -> MessageHeader {
    match name {
        "schema" => MessageHeader::Schema,
        "dictionary" => MessageHeader::DictionaryBatch,
        "rows" => MessageHeader::RecordBatch,
        name => panic!("{name} is no message"),
    }
}

impl Message {
    fn kind(&self) -> MessageHeader {
        root_as_message(&self.header).expect("it is not forged yet").header_type()
    }
}

/// The header of a batch, to be written anew.
struct Batch {
    rows: i64,
    nodes: Vec<FieldNode>,
    buffers: Vec<Buffer>,
    views: Vec<i64>,
    codec: Option<CompressionType>,
    dictionary: Option<i64>,
    is_delta: bool,
}

impl Batch {
    fn of(message: &Message) -> Batch {
        let header = root_as_message(&message.header).expect("it is a message");
        let dictionary = header.header_as_dictionary_batch();
        let batch = dictionary.map_or_else(|| header.header_as_record_batch(), |dictionary| dictionary.data());
        let batch = batch.expect("it is a batch");
        Batch {
            rows: batch.length(),
            nodes: batch.nodes().into_iter().flatten().copied().collect(),
            buffers: batch.buffers().into_iter().flatten().copied().collect(),
            views: batch.variadicBufferCounts().into_iter().flatten().collect(),
            codec: batch.compression().map(|compression| compression.codec()),
            dictionary: dictionary.map(|dictionary| dictionary.id()),
            is_delta: dictionary.is_some_and(|dictionary| dictionary.isDelta()),
        }
    }

    fn forge(&mut self, body: &mut Vec<u8>, words: &[&str]) {
        let number = |text: &str| text.parse::<i64>().expect("a number");
        let place = |text: &str| text.parse::<usize>().expect("a place");
        match *words {
            ["rows", rows] => self.rows = number(rows),
            ["node", "drop"] => drop(self.nodes.pop()),
            ["node", node, "length", length] => {
                let node = &mut self.nodes[place(node)];
                *node = FieldNode::new(number(length), node.null_count());
            }
            ["node", node, "nulls", nulls] => {
                let node = &mut self.nodes[place(node)];
                *node = FieldNode::new(node.length(), number(nulls));
            }
            ["buffer", "drop"] => drop(self.buffers.pop()),
            ["buffer", buffer, "length", length] => {
                let buffer = &mut self.buffers[place(buffer)];
                *buffer = Buffer::new(buffer.offset(), number(length));
            }
            ["buffer", buffer, "offset", offset] => {
                let buffer = &mut self.buffers[place(buffer)];
                *buffer = Buffer::new(number(offset), buffer.length());
            }
            ["buffer", buffer, "byte", at, byte] => {
                let start = self.buffers[place(buffer)].offset() as usize;
                body[start + place(at)] = u8::from_str_radix(byte, 16).expect("a byte");
            }
            ["compress", "none"] => self.codec = Some(CompressionType::ZSTD),
            ["compress", codec] => self.compress(body, codec),
            ["claim", buffer, bytes] => {
                let start = self.buffers[place(buffer)].offset() as usize;
                body[start..start + 8].copy_from_slice(&number(bytes).to_le_bytes());
            }
            ["bomb", codec, buffer, bytes] => {
                let packed = packed(codec, &vec![0; place(bytes)]);
                let start = body.len() as i64;
                body.extend_from_slice(&16i64.to_le_bytes());
                body.extend_from_slice(&packed);
                self.buffers[place(buffer)] = Buffer::new(start, 8 + packed.len() as i64);
            }
            ["views", views] => self.views = vec![number(views)],
            ref words => panic!("nobody knows how to forge `{}`", words.join(" ")),
        }
    }

    fn compress(&mut self, body: &mut Vec<u8>, codec: &str) {
        self.codec = Some(if codec == "zstd" { CompressionType::ZSTD } else { CompressionType::LZ4_FRAME });
        let mut compressed = Vec::new();
        for buffer in &mut self.buffers {
            if buffer.length() == 0 {
                continue;
            }
            let plain = &body[buffer.offset() as usize..][..buffer.length() as usize];
            let start = compressed.len();
            compressed.extend_from_slice(&(plain.len() as i64).to_le_bytes());
            compressed.extend_from_slice(&packed(codec, plain));
            let length = compressed.len() - start;
            compressed.resize(compressed.len().next_multiple_of(8), 0);
            *buffer = Buffer::new(start as i64, length as i64);
        }
        *body = compressed;
    }

    fn header(&self, body_bytes: usize) -> Vec<u8> {
        let mut builder = FlatBufferBuilder::new();
        let nodes = Some(builder.create_vector(&self.nodes));
        let buffers = Some(builder.create_vector(&self.buffers));
        let views = (!self.views.is_empty()).then(|| builder.create_vector(&self.views));
        let compression = self.codec.map(|codec| {
            let arguments = BodyCompressionArgs { codec, method: BodyCompressionMethod::BUFFER };
            BodyCompression::create(&mut builder, &arguments)
        });
        let arguments = RecordBatchArgs { length: self.rows, nodes, buffers, compression, variadicBufferCounts: views };
        let batch = RecordBatch::create(&mut builder, &arguments);
        let (kind, header) = match self.dictionary {
            None => (MessageHeader::RecordBatch, batch.as_union_value()),
            Some(id) => {
                let arguments = DictionaryBatchArgs { id, data: Some(batch), isDelta: self.is_delta };
                let dictionary = DictionaryBatch::create(&mut builder, &arguments);
                (MessageHeader::DictionaryBatch, dictionary.as_union_value())
            }
        };
        finished(builder, kind, header, body_bytes)
    }
}

fn finished(
    mut builder: FlatBufferBuilder<'_>,
    header_type: MessageHeader,
    header: flatbuffers::WIPOffset<flatbuffers::UnionWIPOffset>,
    body_bytes: usize,
) -> Vec<u8> {
    let arguments = MessageArgs {
        version: MetadataVersion::V5,
        header_type,
        header: Some(header),
        bodyLength: body_bytes as i64,
        custom_metadata: None,
    };
    let message = Header::create(&mut builder, &arguments);
    builder.finish(message, None);
    builder.finished_data().to_vec()
}

fn tensor() -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let int = arrow_ipc::Int::create(&mut builder, &arrow_ipc::IntArgs { bitWidth: 32, is_signed: true });
    let shape = builder.create_vector::<flatbuffers::WIPOffset<arrow_ipc::TensorDim<'_>>>(&[]);
    let data = Buffer::new(0, 0);
    let arguments = TensorArgs {
        type_type: arrow_ipc::Type::Int,
        type_: Some(int.as_union_value()),
        shape: Some(shape),
        strides: None,
        data: Some(&data),
    };
    let tensor = Tensor::create(&mut builder, &arguments);
    let header = tensor.as_union_value();
    finished(builder, MessageHeader::Tensor, header, 0)
}

fn packed(codec: &str, plain: &[u8]) -> Vec<u8> {
    if codec == "zstd" {
        return zstd::bulk::compress(plain, 3).expect("memory can be compressed");
    }
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(plain).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}
