package pipe

// The bytes that a pipe may hold with Widen: each process on the way is woken less often.
// All pipes of a user together may hold 64 MiB (pipe(7)), and then new ones hold less
// than usual, those of other programs too.
const (
	// Wide is about the size of a socket's buffer. It leaves room for a hundred connections.
	Wide = 256 << 10
	// Widest is the most that a user may ask for: for pipes that much passes through.
	Widest = 1 << 20
)
