package link

// hopsAreApart reports whether the ssh of a jump host can be distinguished from that of the place.
// On Windows, a program cannot execute another in its place.
const hopsAreApart = false

// Hop does nothing: on Windows, a program cannot execute another in its place.
func Hop([]string) (code int, ok bool) { return 0, false }
