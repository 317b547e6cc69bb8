package main

import (
	"slices"
	"testing"

	"keyway/internal/keyway"
)

func TestPrivilegeOptions(t *testing.T) {
	for _, c := range []struct {
		o    privilegeOptions
		want keyway.Spec
		bad  bool
	}{
		{privilegeOptions{}, keyway.Spec{}, false},
		{privilegeOptions{capAdd: []string{"net_raw", "CAP_SYS_PTRACE"}, pids: -1}, keyway.Spec{Resources: keyway.Resources{PidsLimit: -1}, Process: keyway.Process{CapAdd: []string{"NET_RAW", "SYS_PTRACE"}}}, false},
		{privilegeOptions{security: []string{"no-new-privileges=false"}}, keyway.Spec{Process: keyway.Process{NewPrivileges: true}}, false},
		{privilegeOptions{security: []string{"no-new-privileges:false"}}, keyway.Spec{Process: keyway.Process{NewPrivileges: true}}, false},
		{privilegeOptions{security: []string{"no-new-privileges"}}, keyway.Spec{}, false},
		{privilegeOptions{security: []string{"no-new-privileges:true"}}, keyway.Spec{}, false},
		{privilegeOptions{security: []string{"seccomp=unconfined"}}, keyway.Spec{}, true},
		{privilegeOptions{security: []string{"apparmor=false"}}, keyway.Spec{}, true},
		{privilegeOptions{security: []string{"no-new-privileges=maybe"}}, keyway.Spec{}, true},
		{privilegeOptions{capAdd: []string{"NET RAW"}}, keyway.Spec{}, true},
		{privilegeOptions{capAdd: []string{""}}, keyway.Spec{}, true},
	} {
		var s keyway.Spec
		err := c.o.add(&s)
		if (err != nil) != c.bad {
			t.Errorf("%+v: %v", c.o, err)
		}
		if !c.bad && (!slices.Equal(s.CapAdd, c.want.CapAdd) || s.NewPrivileges != c.want.NewPrivileges || s.PidsLimit != c.want.PidsLimit) {
			t.Errorf("%+v became %+v", c.o, s)
		}
	}
}
