package stream

import (
	"net"
	"slices"
	"strings"
)

// usableAddresses returns a text that changes with the addresses by which this machine can reach
// others. It omits link-local ones: every container that starts adds some and later removes them.
func usableAddresses() string {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return ""
	}
	var usable []string
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			usable = append(usable, n.String())
		}
	}
	slices.Sort(usable)
	return strings.Join(usable, " ")
}
