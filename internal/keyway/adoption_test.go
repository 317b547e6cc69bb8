package keyway

import (
	"strings"
	"testing"
)

// TestCheckContainer checks that names and IDs of containers are accepted, and words that would
// lead elsewhere in the path of a request, or that are options, are not.
func TestCheckContainer(t *testing.T) {
	for name, good := range map[string]bool{
		"web": true, "gpu_train": true, "Compose.app-1": true, "0a1b2c": true, strings.Repeat("x", 255): true,
		"": false, "-v": false, ".web": false, "../web": false, "a/b": false, "a b": false, "a\nb": false, "wéb": false, "a?b": false,
		"a%2fb": false, strings.Repeat("x", 256): false, "\x1b[31m": false,
	} {
		if err := CheckContainer(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		} else if err != nil && AsError(err).Help() == "" {
			t.Errorf("%q is refused without a next step", name)
		}
	}
}

func TestAdoptionIsValidated(t *testing.T) {
	good := Adoption{Name: "train", Container: "web", Access: Access{AuthorizedKeys: []string{"ssh-ed25519 AAAA"}}}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for what, change := range map[string]func(*Adoption){
		"nothing": func(a *Adoption) { *a = Adoption{} }, "no keys": func(a *Adoption) { a.AuthorizedKeys = nil },
		"a bad name": func(a *Adoption) { a.Name = "No Name" }, "a bad container": func(a *Adoption) { a.Container = "../x" },
		"two lines": func(a *Adoption) { a.AuthorizedKeys = []string{"a\nb"} },
	} {
		a := good
		if change(&a); a.Validate() == nil {
			t.Errorf("%s: it is taken", what)
		}
	}
}
