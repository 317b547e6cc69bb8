package keyway

import (
	"math"
	"testing"
)

func TestLimitsAreChecked(t *testing.T) {
	nofile := Ulimit{Name: "nofile", Soft: 1, Hard: 2}
	for _, c := range []struct {
		r   Resources
		bad bool
	}{
		{Resources{}, false},
		{Resources{CPUs: 0.5, Memory: 1 << 40, Ulimits: []Ulimit{nofile, {"memlock", -1, -1}, {"core", 0, -1}}}, false},
		{Resources{CPUs: -1}, true},
		{Resources{CPUs: math.NaN()}, true},
		{Resources{CPUs: math.Inf(1)}, true},
		{Resources{Memory: -1}, true},
		{Resources{ShmSize: -1}, true},
		{Resources{PidsLimit: -2}, true},
		{Resources{GPUs: GPUs{Count: -1}}, true}, // from the network, or a template's file
		{Resources{GPUs: GPUs{Count: maxGPUs + 1}}, true},
		{Resources{Ulimits: []Ulimit{nofile, nofile}}, true},
		{Resources{Ulimits: []Ulimit{{"nofile", 3, 2}}}, true},
		{Resources{Ulimits: []Ulimit{{"nofile", -1, 2}}}, true},
		{Resources{Ulimits: []Ulimit{{"nofile", -2, -2}}}, true},
		{Resources{Ulimits: []Ulimit{{"", 1, 1}}}, true},
		{Resources{Ulimits: []Ulimit{{"no file", 1, 1}}}, true},
		{Resources{Ulimits: make([]Ulimit, maxUlimits+1)}, true},
	} {
		s := Spec{Name: "x", Access: Access{AuthorizedKeys: []string{"ssh-ed25519 AAAA"}}, Resources: c.r}
		if err := s.Validate(); (err != nil) != c.bad || c.bad && !Is(err, Usage) {
			t.Errorf("%+v: %v", c.r, err)
		}
	}
}
