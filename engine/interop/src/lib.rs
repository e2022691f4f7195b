//! Nothing but its examples: Ringmain's engine below a Raft library and two runtimes. A package of its own, so that
//! whoever builds the engine does not build those.
//!
//! In: nothing. Out: nothing. Never: used by the engine or the server.
