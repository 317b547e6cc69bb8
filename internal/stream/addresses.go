package stream

import (
	"net"
	"slices"
	"strings"
)

// usableAddresses is a text that changes when the addresses do by which this
// machine can reach others. Link-local ones do not count: every container that
// starts brings some and takes them away.
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
