//go:build linux

package words

import (
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"keyway/internal/keyway"
	"keyway/internal/plain"
	"keyway/internal/proctree"
	"keyway/internal/session/holder"
	"keyway/internal/session/option"
)

const portsUsage = `Usage: keyway ports [--json]

Lists the TCP ports that programs here listen on.

Example:
  keyway ports

Exit code: 0; 2 wrong usage.
`

func portsCommand() command {
	return command{name: "ports", summary: "list the ports that programs listen on", usage: portsUsage, run: (*cli).ports,
		CommandLine: option.CommandLine{Options: []option.Option{{Name: "json"}}}}
}

// maxPorts bounds the ports that are listed.
const maxPorts = 1024

func (c *cli) ports(g option.Given) (int, error) {
	ports, inodes := []keyway.Port{}, map[string]int{}
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		table, _ := os.ReadFile(file) // a kernel without IPv6 does not have the second file
		for _, line := range strings.Split(string(table), "\n") {
			if p, inode := listening(line); p.Port != 0 && len(ports) < maxPorts {
				inodes["socket:["+inode+"]"] = len(ports)
				ports = append(ports, p)
			}
		}
	}
	for _, pid := range proctree.PIDs() {
		nameHolder(ports, inodes, pid)
	}
	if g.Has("json") {
		return 0, plain.JSON(c.Out, ports)
	}
	for _, p := range ports {
		if _, err := fmt.Fprintln(c.Out, p.Port, p.Address, plain.Line(p.Program)); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// listening parses a line of /proc/net/tcp (proc_net(5)). For a socket that does not listen,
// the port is 0.
func listening(line string) (p keyway.Port, inode string) {
	f := strings.Fields(line)
	if len(f) < 10 || f[3] != "0A" {
		return p, ""
	}
	address, port, _ := strings.Cut(f[1], ":")
	ip, _ := hex.DecodeString(address)
	n, _ := strconv.ParseUint(port, 16, 16)
	for i := 0; i+3 < len(ip); i += 4 { // words in the machine's byte order, little-endian
		ip[i], ip[i+1], ip[i+2], ip[i+3] = ip[i+3], ip[i+2], ip[i+1], ip[i]
	}
	return keyway.Port{Port: int(n), Address: net.IP(ip).String()}, f[9]
}

// nameHolder sets the process of each port that it holds.
func nameHolder(ports []keyway.Port, inodes map[string]int, pid int) {
	for _, target := range proctree.Files(pid) {
		i, ok := inodes[target]
		if !ok {
			continue
		}
		ports[i].PID, ports[i].Program = pid, proctree.Name(pid)
		env, _ := proctree.Environment(pid)
		for _, kv := range env {
			if session, ok := strings.CutPrefix(kv, holder.EnvSession+"="); ok {
				ports[i].Session = session
				break
			}
		}
	}
}
