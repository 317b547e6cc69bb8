//go:build linux

package enginetest

import (
	"reflect"
	"slices"
	"testing"

	"keyway/internal/keyway"
)

// TestNewFieldsAreUnhandled checks that fields of Spec without a case are found, in each place
// where an incomplete walk would miss them: in an array, a struct, a pointer and a map.
func TestNewFieldsAreUnhandled(t *testing.T) {
	type Devices struct{ Path string }
	type spec struct {
		keyway.Spec
		Ports   []int
		Devices []Devices
		Origin  struct{ Digest *string }
		Labels  map[string]struct{ Value string }
	}
	want := []string{"Ports", "Devices.Path", "Origin.Digest", "Labels.Value"}
	cases := fieldCases()
	for i := range cases {
		for j, leaf := range cases[i].leaves {
			cases[i].leaves[j] = "Spec." + leaf
		}
	}
	if got := unhandled(reflect.TypeFor[spec](), cases); !slices.Equal(got, want) {
		t.Errorf("unhandled are %q, want %q", got, want)
	}
}
