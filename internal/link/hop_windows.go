package link

// hopsAreApart says that the ssh of a jump host can be told from that of the
// place. Windows has no way to become another program.
const hopsAreApart = false

// Hop is for systems on which one program can become another.
func Hop([]string) (code int, ok bool) { return 0, false }
