//go:build !linux

package gpu

// machine is one whose processes have no GPUs to lend: only on Linux there are
// leases.
type machine struct{}

func (machine) boot() string           { return "" }
func (machine) start(int) string       { return "" }
func (machine) alive(int, string) bool { return false }
func (machine) parent(int) int         { return 0 }
func (machine) owner(int) (int, bool)  { return 0, false }
func (machine) command(int) string     { return "" }
func (machine) cgroup(int) string      { return "" }
