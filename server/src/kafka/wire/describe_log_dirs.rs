//! DescribeLogDirs (35), versions 1-4: what a broker's directories hold.
//!
//! | version | change |
//! |---|---|
//! | 2 | flexible |
//! | 3 | response: an error of the whole request |
//! | 4 | response: size and room of the volume (KIP-827) |

use super::primitives::{Reader, WireError, Writer};

/// Stands for a size of a volume that is not known, or not told.
pub const UNKNOWN: i64 = -1;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DescribeLogDirsRequest {
    /// Names and partitions; `None`: all.
    pub topics: Option<Vec<(String, Vec<i32>)>>,
}

impl DescribeLogDirsRequest {
    pub fn decode(reader: &mut Reader, _version: i16) -> Result<DescribeLogDirsRequest, WireError> {
        let topics = reader.nullable_array(|reader| {
            let topic = (reader.string()?, reader.array(Reader::i32)?);
            reader.tags()?;
            Ok(topic)
        })?;
        reader.tags()?;
        Ok(DescribeLogDirsRequest { topics })
    }

    pub fn encode(&self, writer: &mut Writer, _version: i16) {
        writer.nullable_array(self.topics.as_deref(), |writer, (name, partitions)| {
            writer.string(name);
            writer.array(partitions, |writer, partition| writer.i32(*partition));
            writer.tags();
        });
        writer.tags();
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DescribeLogDirsResponse {
    pub throttle_time_ms: i32,
    /// From version 3.
    pub error_code: i16,
    pub results: Vec<LogDir>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LogDir {
    pub error_code: i16,
    pub path: String,
    pub topics: Vec<LogDirTopic>,
    /// From version 4.
    pub total_bytes: i64,
    /// From version 4.
    pub usable_bytes: i64,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LogDirTopic {
    pub name: String,
    pub partitions: Vec<LogDirPartition>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LogDirPartition {
    pub index: i32,
    pub size_bytes: i64,
    /// How far it is behind the leader.
    pub offset_lag: i64,
    /// Whether it is a copy on its way to another directory.
    pub is_future: bool,
}

impl DescribeLogDirsResponse {
    pub fn decode(reader: &mut Reader, version: i16) -> Result<DescribeLogDirsResponse, WireError> {
        let throttle_time_ms = reader.i32()?;
        let error_code = if version >= 3 { reader.i16()? } else { 0 };
        let results = reader.array(|reader| LogDir::decode(reader, version))?;
        reader.tags()?;
        Ok(DescribeLogDirsResponse { throttle_time_ms, error_code, results })
    }

    pub fn encode(&self, writer: &mut Writer, version: i16) {
        writer.i32(self.throttle_time_ms);
        if version >= 3 {
            writer.i16(self.error_code);
        }
        writer.array(&self.results, |writer, result| result.encode(writer, version));
        writer.tags();
    }
}

impl LogDir {
    fn decode(reader: &mut Reader, version: i16) -> Result<LogDir, WireError> {
        let (error_code, path) = (reader.i16()?, reader.string()?);
        let topics = reader.array(|reader| {
            let name = reader.string()?;
            let partitions = reader.array(|reader| {
                let partition = LogDirPartition {
                    index: reader.i32()?,
                    size_bytes: reader.i64()?,
                    offset_lag: reader.i64()?,
                    is_future: reader.bool()?,
                };
                reader.tags()?;
                Ok(partition)
            })?;
            reader.tags()?;
            Ok(LogDirTopic { name, partitions })
        })?;
        let total_bytes = if version >= 4 { reader.i64()? } else { UNKNOWN };
        let usable_bytes = if version >= 4 { reader.i64()? } else { UNKNOWN };
        reader.tags()?;
        Ok(LogDir { error_code, path, topics, total_bytes, usable_bytes })
    }

    fn encode(&self, writer: &mut Writer, version: i16) {
        writer.i16(self.error_code);
        writer.string(&self.path);
        writer.array(&self.topics, |writer, topic| {
            writer.string(&topic.name);
            writer.array(&topic.partitions, |writer, partition| {
                writer.i32(partition.index);
                writer.i64(partition.size_bytes);
                writer.i64(partition.offset_lag);
                writer.bool(partition.is_future);
                writer.tags();
            });
            writer.tags();
        });
        if version >= 4 {
            writer.i64(self.total_bytes);
            writer.i64(self.usable_bytes);
        }
        writer.tags();
    }
}
