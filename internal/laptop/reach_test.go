package laptop

import (
	"slices"
	"testing"
	"time"

	"keyway/internal/policy"
)

func TestForwardedReach(t *testing.T) {
	known := func(name string, groups ...string) policy.Host {
		return policy.Host{Fingerprint: "SHA256:" + name, Names: []string{name}, Groups: groups}
	}
	hosts := []policy.Host{known("db"), known("github.com", policy.GroupGit), known("lab"), known("train", policy.GroupWorkspaces)}
	rules, err := policy.Parse([]byte("rules:\n  - allow: login\n    from: lab\n    to: db\n  - deny: login\n    key: secret\n"))
	if err != nil {
		t.Fatal(err)
	}
	for comment, want := range map[string][]string{
		"me":     {"forwarded through db, github.com, any other host: nowhere unasked", "forwarded through lab: to db", "forwarded through train: to github.com, train"},
		"secret": {"forwarded through db, github.com, train, any other host: nowhere unasked", "forwarded through lab: to db"},
	} {
		if got := Forwarded(rules, hosts, policy.Key{Comment: comment}, time.Now()); !slices.Equal(got, want) {
			t.Errorf("%s: %q", comment, got)
		}
	}
	all := Forwarded(policy.Standard(), hosts, policy.Key{}, time.Now())
	if want := []string{"forwarded through db, github.com, lab, any other host: nowhere unasked", "forwarded through train: to github.com, train"}; !slices.Equal(all, want) {
		t.Errorf("%q", all)
	}
}
