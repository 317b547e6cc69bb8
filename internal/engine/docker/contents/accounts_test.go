package contents

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
)

// TestAccounts checks which lines of passwd(5) and group(5) count as users and groups of a container.
func TestAccounts(t *testing.T) {
	const (
		passwd = "root:x:0:0:root:/root:/bin/bash\nbroken\n:x:1:1::/:\n"
		group  = "root:x:0:\nvideo:x:44:ada,grace\n"
	)
	image := []string{"group root=0:", "group video=44:ada,grace", "user root=0:0:/root:/bin/bash"}
	for what, c := range map[string]struct {
		passwd, group string
		mounted       []string
		want          []string
	}{
		"the image's":        {passwd, group, nil, image},
		"the guest's user":   {passwd + "\nada:x:1000:1000:keyway:/home/ada:/bin/bash\n", group, nil, image},
		"Podman's user":      {passwd + "1000:*:1000:1000:container user:/:/bin/sh\n", group + "1000:x:1000:1000\n", nil, image},
		"a password":         {"root:*:0:0:other:/root:/bin/bash\n", group, nil, image},
		"useradd":            {passwd + "ada:x:1000:1000::/home/ada:/bin/sh\n", group, nil, append(image[:2:2], "user ada=1000:1000:/home/ada:/bin/sh", image[2])},
		"a user given twice": {passwd + "root:x:0:0::/:/bin/sh\n", group, nil, image},
		"usermod -aG":        {passwd, "root:x:0:\nvideo:x:44:ada\n", nil, []string{"group root=0:", "group video=44:ada", image[2]}},
		"mounted":            {passwd, group, []string{"/etc/passwd"}, image[:2]},
		"mounted above":      {passwd, group, []string{"/etc"}, []string{}},
		"none":               {"", "", nil, []string{}},
	} {
		files := fstest.MapFS{"etc/passwd": {Data: []byte(c.passwd)}, "etc/group": {Data: []byte(c.group)}}
		if got := (Container{Mounted: c.mounted}).accounts(files); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
}

// TestAccountsAreBounded checks that a container cannot fill the answer of its place, which has 16 MiB at most, with
// accounts.
func TestAccountsAreBounded(t *testing.T) {
	const most = 4 << 20
	for size := 1; size < 16<<20; size *= 4 {
		line := "a:x:0:" + strings.Repeat("\x01", size) // six bytes each in JSON
		files := fstest.MapFS{"etc/passwd": {Data: []byte(line + ":::\n")}, "etc/group": {Data: []byte(line + "\n")}}
		if data, err := json.Marshal((Container{}).accounts(files)); err != nil || len(data) > most {
			t.Errorf("%d bytes in two fields are %d bytes, more than %d: %v", size, len(data), most, err)
		}
	}
}
