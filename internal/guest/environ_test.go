//go:build linux

package guest

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// TestWhatALoginTakesWithIt checks that only variables of an ended login are removed.
func TestWhatALoginTakesWithIt(t *testing.T) {
	there, err := os.CreateTemp("/tmp", "krb5cc_0_")
	must(t, err)
	defer os.Remove(there.Name())
	must(t, there.Close())
	gone := filepath.Join(t.TempDir(), "gone")
	for value, kept := range map[string]bool{
		"FILE:" + there.Name(): true, there.Name(): true, "FILE:" + there.Name() + "x": false, there.Name() + "x": false,
		"KEYRING:persistent:0": true, "KCM:": true, "FILE:" + gone: true, "": true,
	} {
		e := environment{"KRB5CCNAME": value, "XDG_RUNTIME_DIR": "/run/user/none", "LANG": "C"}
		want := environment{"KRB5CCNAME": value, "LANG": "C"}
		if !kept {
			delete(want, "KRB5CCNAME")
		}
		if e.dropGone(); !maps.Equal(e, want) {
			t.Errorf("%q: %v, want %v", value, e, want)
		}
	}
	e := environment{"XDG_RUNTIME_DIR": gone} // an image's directory, made when it is needed
	if e.dropGone(); len(e) != 1 {
		t.Errorf("%v", e)
	}
}
