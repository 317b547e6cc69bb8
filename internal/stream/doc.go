// Package stream carries a byte stream over connections that may break. The client dials them, the
// server accepts them. Data that either user writes arrives at the other exactly once and in order,
// however often a connection breaks, stalls, corrupts bytes or comes back under another address.
//
// docs/PROTOCOL.stream.md describes the bytes on the wire, the duties of a receiver, every bound,
// and the reason why no other party can continue a stream.
//
// # How it is put together
//
// Parts without goroutines, clocks or locks, each tested alone: frames (frame.go), hellos
// (hello.go), keys (keys.go), unacknowledged data (sendqueue.go), received and unread data
// (recvqueue.go), silence (detector.go), the pause between dials (backoff.go). The wire (wire.go)
// is one end of the protocol, and combines these: the user's bytes, frames and the time go in,
// frames and effects come out.
//
// [Conn] joins a wire to a lock, a timer and a connection. A path, one connection, has two
// goroutines: the reader, which is the goroutine that made the path, and the writer, which the
// reader starts and joins. The client (client.go) has one goroutine more while it dials; a [Server]
// has none. A stream has one timer.
package stream
