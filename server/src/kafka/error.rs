//! Every error code this front end answers, and which of the broker's refusals becomes which.
//!
//! The numbers are Apache Kafka's (<https://kafka.apache.org/protocol#protocol_error_codes>).

use ringmain_engine::format::batch::BatchError;

use crate::broker::catalog::CatalogError;
use crate::broker::command::{AppendError, ReadError};
use crate::broker::groups::GroupError;

/// An error code as it stands in a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i16)]
pub enum ErrorCode {
    UnknownServerError = -1,
    None = 0,
    OffsetOutOfRange = 1,
    CorruptMessage = 2,
    UnknownTopicOrPartition = 3,
    LeaderNotAvailable = 5,
    NotLeaderOrFollower = 6,
    RequestTimedOut = 7,
    MessageTooLarge = 10,
    OffsetMetadataTooLarge = 12,
    CoordinatorNotAvailable = 15,
    NotCoordinator = 16,
    InvalidTopic = 17,
    InvalidRequiredAcks = 21,
    IllegalGeneration = 22,
    InconsistentGroupProtocol = 23,
    InvalidGroupId = 24,
    UnknownMemberId = 25,
    InvalidSessionTimeout = 26,
    RebalanceInProgress = 27,
    InvalidTimestamp = 32,
    TransactionalIdAuthorizationFailed = 53,
    SecurityDisabled = 54,
    UnsupportedVersion = 35,
    TopicAlreadyExists = 36,
    InvalidPartitions = 37,
    InvalidReplicationFactor = 38,
    InvalidReplicaAssignment = 39,
    InvalidConfig = 40,
    NotController = 41,
    InvalidRequest = 42,
    UnsupportedForMessageFormat = 43,
    PolicyViolation = 44,
    OutOfOrderSequenceNumber = 45,
    InvalidProducerEpoch = 47,
    InvalidTxnState = 48,
    KafkaStorageError = 56,
    NonEmptyGroup = 68,
    GroupIdNotFound = 69,
    FetchSessionIdNotFound = 70,
    FencedLeaderEpoch = 74,
    UnknownLeaderEpoch = 75,
    UnsupportedCompressionType = 76,
    MemberIdRequired = 79,
    GroupMaxSizeReached = 81,
    FencedInstanceId = 82,
    GroupSubscribedToTopic = 86,
    InvalidRecord = 87,
    ThrottlingQuotaExceeded = 89,
    UnknownTopicId = 100,
    MismatchedEndpointType = 114,
    UnsupportedEndpointType = 115,
}

impl ErrorCode {
    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }
}

impl From<BatchError> for ErrorCode {
    fn from(error: BatchError) -> ErrorCode {
        match error {
            // Clients send it again, which helps if it was damaged on the way.
            BatchError::Crc { .. } => ErrorCode::CorruptMessage,
            BatchError::TooLarge => ErrorCode::MessageTooLarge,
            BatchError::Length
            | BatchError::Magic(_)
            | BatchError::Count
            | BatchError::Control
            | BatchError::Header => ErrorCode::InvalidRecord,
        }
    }
}

impl From<&AppendError> for ErrorCode {
    fn from(error: &AppendError) -> ErrorCode {
        match error {
            // The topic was deleted while the batch was on its way.
            AppendError::UnknownLog => ErrorCode::UnknownTopicOrPartition,
            AppendError::OutOfOrderSequence => ErrorCode::OutOfOrderSequenceNumber,
            AppendError::FencedProducer => ErrorCode::InvalidProducerEpoch,
            AppendError::TooLarge => ErrorCode::MessageTooLarge,
            AppendError::QueueFull => ErrorCode::PolicyViolation,
            // Clients try these again, with the same sequence, until their own time is over: the record is written once
            // there is room, or its sender hears that it never was. POLICY_VIOLATION would fail it at once and leave a
            // gap in an idempotent producer's sequences; NOT_ENOUGH_REPLICAS would send the operator the wrong way.
            AppendError::NoSpace | AppendError::Storage => ErrorCode::KafkaStorageError,
        }
    }
}

impl From<&ReadError> for ErrorCode {
    fn from(error: &ReadError) -> ErrorCode {
        match error {
            ReadError::UnknownLog => ErrorCode::UnknownTopicOrPartition,
            ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            ReadError::Damaged(_) | ReadError::Storage => ErrorCode::KafkaStorageError,
            ReadError::SettledLog => ErrorCode::PolicyViolation,
        }
    }
}

impl From<&CatalogError> for ErrorCode {
    fn from(error: &CatalogError) -> ErrorCode {
        match error {
            CatalogError::Exists => ErrorCode::TopicAlreadyExists,
            CatalogError::NotFound => ErrorCode::UnknownTopicOrPartition,
            CatalogError::InUse => ErrorCode::InvalidRequest,
            CatalogError::InvalidName => ErrorCode::InvalidTopic,
            CatalogError::InvalidPartitions => ErrorCode::InvalidPartitions,
            CatalogError::InvalidConfig(_) => ErrorCode::InvalidConfig,
            CatalogError::TooMany => ErrorCode::PolicyViolation,
            CatalogError::Storage => ErrorCode::KafkaStorageError,
        }
    }
}

impl From<&GroupError> for ErrorCode {
    fn from(error: &GroupError) -> ErrorCode {
        match error {
            GroupError::MemberIdRequired(_) => ErrorCode::MemberIdRequired,
            GroupError::UnknownMember => ErrorCode::UnknownMemberId,
            GroupError::IllegalGeneration => ErrorCode::IllegalGeneration,
            GroupError::RebalanceInProgress => ErrorCode::RebalanceInProgress,
            GroupError::InconsistentProtocol => ErrorCode::InconsistentGroupProtocol,
            GroupError::InvalidSessionTimeout => ErrorCode::InvalidSessionTimeout,
            GroupError::FencedInstance => ErrorCode::FencedInstanceId,
            GroupError::InvalidGroupId => ErrorCode::InvalidGroupId,
            GroupError::NotFound => ErrorCode::GroupIdNotFound,
            GroupError::NotEmpty => ErrorCode::NonEmptyGroup,
            GroupError::Subscribed => ErrorCode::GroupSubscribedToTopic,
            GroupError::Full => ErrorCode::GroupMaxSizeReached,
            GroupError::MetadataTooLarge => ErrorCode::OffsetMetadataTooLarge,
            GroupError::Storage => ErrorCode::CoordinatorNotAvailable,
        }
    }
}
