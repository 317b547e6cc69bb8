package twins

import (
	"reflect"
	"testing"
)

// TestItems checks that each form of each field is found that can request something twice.
func TestItems(t *testing.T) {
	type list = []any
	type fields = map[string]any
	for _, c := range []struct {
		field string
		value any
		want  []string
	}{
		{"volumes", list{"/a:/x", "/x/", ".:/x:ro", "cache:/x//", "c:/a:/x", "~/d:/x:rw", fields{"type": "bind", "source": "/a", "target": "/x/../x"}}, []string{"the target /x"}},
		{"volumes", list{"", fields{"type": "tmpfs"}, 7, nil}, nil},
		{"tmpfs", "/x", []string{"the target /x"}},
		{"tmpfs", list{"/x", "/x/:size=1m"}, []string{"the target /x"}},
		{"secrets", list{"s", fields{"source": "a", "target": "s"}, fields{"source": "s"}, fields{"source": "b", "target": "/run/secrets/s"}}, []string{"the target /run/secrets/s", "the target /run/secrets"}},
		{"secrets", list{}, nil},
		{"devices", list{"/dev/x", "/dev/a:/dev/x", "/dev/a:/dev/x:r", fields{"source": "/dev/x"}, fields{"source": "/dev/a", "target": "/dev/x"}}, []string{"the device /dev/x"}},
		{"devices", list{"nvidia.com/gpu=0:1"}, []string{"the device nvidia.com/gpu=0:1"}},
		{"environment", list{"A=1", "A", "A=x=y"}, []string{"the variable A"}},
		{"environment", fields{"A": "1"}, nil},
		{"labels", list{"a=1", "a"}, []string{"the label a"}},
		{"security_opt", list{"no-new-privileges", "no-new-privileges:true", "no-new-privileges=false"}, []string{"the option no-new-privileges"}},
		{"cap_add", list{"SYS_PTRACE", "CAP_SYS_PTRACE", "sys_ptrace"}, []string{"the capability SYS_PTRACE"}},
		{"env_file", "a.env", []string{"the file a.env"}},
		{"env_file", list{"a.env", "./a.env", fields{"path": "a.env"}}, []string{"the file a.env"}},
		{"ports", list{"80:80", "127.0.0.1:80:80", 80, fields{"target": 80, "published": "1"}}, []string{"the port 80:80", "the port 127.0.0.1:80:80", "the port 80", "the port {published: 1, target: 80}"}},
		{"expose", list{80, "80"}, []string{"the exposed port 80"}},
		{"shm_size", "1g", []string{"the target /dev/shm"}},
		{"security_opt", list{"", ":", 7}, nil},
	} {
		var got []string
		seen := map[string]bool{}
		for _, item := range Items(fields{c.field: c.value}) {
			if !seen[item.Claim] {
				got = append(got, item.Claim)
			}
			seen[item.Claim] = true
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v: %q, want %q", c.field, c.value, got, c.want)
		}
	}
}
