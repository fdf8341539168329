//! mDNS on real sockets.
