package laptop

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"keyway/internal/hostnames"
	"keyway/internal/plain"
	"keyway/internal/policy"
)

// maxReachHosts bounds the known hosts that are examined, each as the first of a route with
// each as its last.
const maxReachHosts = 400

// Forwarded returns, for every host at which a forwarding can begin, where the policy lets a
// key log in from there. Hosts with the same reach share a line.
func Forwarded(p *policy.Policy, hosts []policy.Host, k policy.Key, now time.Time) []string {
	other := policy.Host{Fingerprint: "none that is known"}
	reaches := map[string][]string{} // reach → first hops
	for _, hop := range append(slices.Clone(hosts), other) {
		var to []string
		for _, h := range hosts {
			f := policy.Facts{
				Op: policy.Sign, When: now, Remote: true, From: hop, Proven: true, To: h, Purpose: policy.Login, AnyUser: true,
				Key: k, Constraint: policy.Unconstrained,
			}
			if p.Decide(f, nil).Verdict == policy.Allow {
				to = append(to, plain.Line(h.String()))
			}
		}
		name := "any other host"
		if len(hop.Names) > 0 {
			name = plain.Line(hop.String())
		}
		reach := "nowhere unasked"
		if len(to) > 0 {
			reach = "to " + strings.Join(to, ", ")
		}
		reaches[reach] = append(reaches[reach], name)
	}
	var lines []string
	for reach, hops := range reaches {
		from := strings.Join(hops, ", ")
		if len(reaches) == 1 {
			from = "any host"
		}
		lines = append(lines, "forwarded through "+from+": "+reach)
	}
	slices.Sort(lines)
	return lines
}

// Reachable returns the hosts that the user's files name, by their first names, and
// the public git hosts; not all, where there are very many.
func Reachable(rules *policy.Policy) []policy.Host {
	byName := hostnames.Read(func() *policy.Policy { return rules }).ByName()
	for _, h := range policy.GitHosts() {
		byName[h.Names[0]] = h
	}
	hosts := slices.SortedFunc(maps.Values(byName), func(a, b policy.Host) int { return cmp.Compare(a.Names[0], b.Names[0]) })
	return hosts[:min(len(hosts), maxReachHosts)]
}
