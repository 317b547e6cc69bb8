package sshconfig

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"keyway/internal/keyway"
)

// TestRouteTo checks that the link limits the time only for a first host without another limit: not
// with a ConnectTimeout of the user's, not through a ProxyCommand of the user's, and not behind
// another host. The agents are those of all hosts on the route.
func TestRouteTo(t *testing.T) {
	t.Setenv("VAULT", "/run/vault")
	conf := filepath.Join(t.TempDir(), "config")
	lines := "Host bastion\n HostName 10.0.0.1\nHost patient\n HostName 10.0.0.2\n ConnectTimeout 300\n IdentityAgent /run/%n.sock\n" +
		"Host gpu1\n ProxyJump bastion\n ConnectTimeout 7\nHost gpu2\n ProxyJump ada@bastion:2222\n IdentityAgent SSH_AUTH_SOCK\nHost gpu3\n ProxyJump patient\n" +
		"Host cloud\n ProxyCommand wake %h\n IdentityAgent none\nHost gpu4\n ProxyJump cloud\n IdentityAgent none\nHost gpu5\n ProxyJump bastion\n IdentityAgent ${VAULT}/agent\nHost round\n ProxyJump about\nHost about\n ProxyJump round\nHost self\n HostName 10.0.0.3\n ProxyJump self\n"
	if err := os.WriteFile(conf, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	usual := []string{""}
	for place, want := range map[string]Route{
		"bastion": {FirstHop: "10.0.0.1:22", Unlimited: "bastion", Longest: 0, Agents: usual},
		"gpu1":    {FirstHop: "10.0.0.1:22", Unlimited: "bastion", Longest: 7 * time.Second, Agents: usual},
		"gpu2":    {FirstHop: "10.0.0.1:2222", Unlimited: "bastion", Longest: 0, Agents: usual},
		"patient": {FirstHop: "10.0.0.2:22", Unlimited: "", Longest: 300 * time.Second, Agents: []string{"/run/patient.sock"}},
		"gpu3":    {FirstHop: "10.0.0.2:22", Unlimited: "", Longest: 300 * time.Second, Agents: []string{"/run/patient.sock", ""}},
		"cloud":   {Agents: []string{}, Commands: []string{"cloud"}, Proxies: []string{"wake %h"}},
		"gpu4":    {Agents: []string{}, Commands: []string{"cloud"}, Proxies: []string{"wake %h"}},
		"gpu5":    {FirstHop: "10.0.0.1:22", Unlimited: "bastion", Longest: 0, Agents: []string{"", "/run/vault/agent"}},
	} {
		if got := (resolver{options: []string{"-F", conf}}).routeTo(t.Context(), keyway.Place(place)); !reflect.DeepEqual(got, want) {
			t.Errorf("the route to %s is %+v, want %+v", place, got, want)
		}
	}
	for _, place := range []keyway.Place{"round", "self"} {
		if got := (resolver{options: []string{"-F", conf}}).routeTo(t.Context(), place); got.Endless == nil || !strings.Contains(got.Endless.Error(), "circle") {
			t.Errorf("the route to %s is %+v", place, got)
		}
	}
}
