package main

import (
	"strings"
	"testing"

	"keyway/internal/template"
)

// A template may be anybody's, of a repository that was cloned: that it has the agent
// forwarded is said.
func TestATemplateThatForwardsTheAgentSaysSo(t *testing.T) {
	for _, forward := range []bool{true, false} {
		a := asked{from: template.Template{Name: "x", File: "keyway.yaml"}}
		a.Spec.ForwardAgent = forward
		var said strings.Builder
		a.tell(&said)
		if strings.Contains(said.String(), "agent is forwarded") != forward {
			t.Errorf("forwarding %v: %s", forward, said.String())
		}
	}
}
