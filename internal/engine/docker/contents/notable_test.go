package contents

import (
	"strings"
	"testing"

	"keyway/internal/keyway"
)

// TestNotable checks that files that runs produce do not count as a difference, and that changes of
// the image do.
func TestNotable(t *testing.T) {
	var all []keyway.FileChange
	for line := range strings.Lines(`~ /etc
~ /etc/passwd
+ /etc/ld.so.preload
~ /usr
~ /usr/bin
~ /usr/bin/python3
- /usr/bin/perl
+ /usr/bin/new
~ /usr/lib
~ /usr/lib/python3/json/__pycache__/decoder.cpython-311.pyc
+ /opt/site-packages/evil.pth
+ /opt/conda/lib/python3.11/sitecustomize.py
+ /opt/conda/lib/python3.11/site.py
+ /etc/profile.d/more.sh
+ /root/.bash_history
+ /workspace/out.pt
~ /var/lib/dpkg/status
~ relative
~ /srv/./x
`) {
		kind, path, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		change := map[string]string{"+": keyway.ChangeAdded, "~": keyway.ChangeModified, "-": keyway.ChangeDeleted}[kind]
		all = append(all, keyway.FileChange{Path: path, Change: change})
	}
	var got []string
	for _, c := range notable(all) {
		got = append(got, c.Change+" "+c.Path)
	}
	want := "added /etc/ld.so.preload, added /etc/profile.d/more.sh, added /opt/conda/lib/python3.11/sitecustomize.py, added /opt/site-packages/evil.pth, modified /srv/x, deleted /usr/bin/perl, modified /usr/bin/python3, modified /usr/lib"
	if text := strings.Join(got, ", "); text != want {
		t.Errorf("notable are\n%s, want\n%s", text, want)
	}
}
