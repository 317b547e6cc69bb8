package pin

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"keyway/internal/keyway"
)

// apart are the fields of a Spec that are not in a lock, and why.
var apart = map[string]string{
	"Name":                  "each workspace has its own",
	"Engine":                "a lock is for all places, whichever engine they have",
	"Image":                 "it is pinned by its digest, and a template's reference as template",
	"Access.AuthorizedKeys": "those who may enter change nothing of what runs",
	"Access.ForwardAgent":   "it is of a connection",
	"Resources.GPUs.All":    "what counts is which GPUs it has: their models",
	"Resources.GPUs.Count":  "what counts is which GPUs it has: their models",
	"Resources.GPUs.IDs":    "what counts is which GPUs it has: their models",
	"Resources.GPUs.Wait":   "it is of the moment when the workspace is made",
	"Files.Secrets.Name":    "no record of a place's holds secrets, so nobody could compare them",
	"Files.Secrets.Value":   "no record of a place's holds secrets, so nobody could compare them",
	"Origin.Template":       "it is what a pin is found by",
	"Origin.Published":      "it says whose the template is",
	"Origin.Labels":         "they are for people's own tools",
	"Origin.Ports":          "they are offered, and change nothing of what runs",
}

// TestEachFieldIsPinned checks each field of Spec: a change is found, in a workspace that requested
// it, at a place and before that, or the field has a listed reason for an exception.
func TestEachFieldIsPinned(t *testing.T) {
	all := leaves(reflect.TypeFor[keyway.Spec](), nil)
	for _, path := range all {
		name := strings.Join(path, ".")
		before, after := filled(all), filled(all)
		change(reflect.ValueOf(&after).Elem(), path, 2)
		p := FromWorkspace("train", before.Image, before.Environment())
		there, asked := p.Compare("w", after.Environment()), p.CompareSpec("w", after)
		asked = slices.DeleteFunc(asked, func(d Difference) bool { return d.Field == "template" }) // the image's reference
		if _, isApart := apart[name]; isApart {
			if len(there)+len(asked) > 0 {
				t.Errorf("%s is apart, and makes a difference: %+v, %+v", name, there, asked)
			}
			continue
		}
		if len(there) == 0 || len(asked) == 0 {
			t.Errorf("%s is not in the lock: give Spec.Environment a word for it, or say in apart why not", name)
		}
		for _, d := range append(there, asked...) {
			if !slices.Contains(Fields, d.Field) {
				t.Errorf("%s makes a difference in %s, which is no field", name, d.Field)
			}
		}
	}
	for name := range apart {
		if !slices.ContainsFunc(all, func(path []string) bool { return strings.Join(path, ".") == name }) {
			t.Errorf("apart has %s, and Spec has not", name)
		}
	}
}

// leaves returns the paths of the fields of a struct that hold no struct of ours.
func leaves(typ reflect.Type, above []string) (all [][]string) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		path := append(slices.Clone(above), f.Name)
		inner := f.Type
		if inner.Kind() == reflect.Slice && inner.Elem().Kind() == reflect.Struct {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			all = append(all, leaves(inner, path)...)
		} else {
			all = append(all, path)
		}
	}
	return all
}

// filled returns a Spec in which every field except the switches has a value.
func filled(all [][]string) (s keyway.Spec) {
	for _, path := range all {
		change(reflect.ValueOf(&s).Elem(), path, 1)
	}
	s.User = "" // beside Caller, which a change switches on
	return s
}

// change sets the field at that path to the n-th of its values.
func change(v reflect.Value, path []string, n int) {
	if v.Kind() == reflect.Slice && len(path) > 0 {
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		v = v.Index(0)
	}
	if len(path) > 0 {
		change(v.FieldByName(path[0]), path[1:], n)
		return
	}
	word := strings.Repeat("x", n)
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(n == 2)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(n))
	case reflect.Float64:
		v.SetFloat(float64(n))
	case reflect.String:
		v.SetString(word)
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"NAME": word}))
	case reflect.Slice:
		one := reflect.MakeSlice(v.Type(), 1, 1)
		change(one.Index(0), nil, n)
		v.Set(one)
	case reflect.Uint8:
		v.SetUint(uint64(n))
	default:
		panic("no value of the kind " + v.Kind().String())
	}
}

// TestLocksOfBefore checks that a lock from before options were recorded can be read, is written
// unchanged, and reports no option.
func TestLocksOfBefore(t *testing.T) {
	before := pinned()
	before.Options = nil
	p := FromWorkspace("train", "x", before)
	s := keyway.Spec{Process: keyway.Process{Network: keyway.NetworkHost}}
	found := pinned()
	found.Options = s.Environment().Options
	if got := p.Compare("w", found); len(got) != 0 || p.Options != nil {
		t.Errorf("%+v", got)
	}
	if got := FromWorkspace("train", "x", pinned()).Compare("w", found); len(got) != 1 || got[0].Field != "network" || got[0].Found != "host" || got[0].Want != "" {
		t.Errorf("%+v", got)
	}
}

// TestWhatOnlyTheUserChooses checks settings that a template cannot have: a lock that has them does
// not differ from the template, but the workspace must have them.
func TestWhatOnlyTheUserChooses(t *testing.T) {
	chosen := keyway.Spec{Process: keyway.Process{Network: keyway.NetworkNone, IPC: keyway.IPCHost}}
	p := FromWorkspace("train", "", chosen.Environment())
	plain := keyway.Spec{Resources: keyway.Resources{ShmSize: 1 << 30}}
	if got := p.CompareTemplate("keyway.yaml", plain); len(got) != 0 {
		t.Errorf("the template: %+v", got)
	}
	if got := p.CompareSpec("keyway.yaml", plain); len(got) != 3 {
		t.Errorf("a workspace without them: %+v", got)
	}
	if got := p.CompareSpec("keyway.yaml", chosen); len(got) != 0 {
		t.Errorf("a workspace with them: %+v", got)
	}
}

// TestLimitsThatAPlaceLowered checks that lowered limits are no difference from the template that
// requests more. They are a difference from a template that requests others, and from a place that
// gives the requested ones.
func TestLimitsThatAPlaceLowered(t *testing.T) {
	limit := func(hard int64) keyway.Spec {
		return keyway.Spec{Resources: keyway.Resources{Ulimits: []keyway.Ulimit{{Name: "memlock", Soft: hard, Hard: hard}}}}
	}
	given := limit(8 << 20).Environment()
	given.AskedUlimits = limit(-1).Environment().Options[keyway.OptionUlimits]
	p := FromWorkspace("train", "", given)
	if got := p.CompareTemplate("keyway.yaml", limit(-1)); len(got) != 0 {
		t.Errorf("as requested: %+v", got)
	}
	for what, got := range map[string][]Difference{
		"another template": p.CompareTemplate("keyway.yaml", limit(1<<20)),
		"what was given":   p.CompareTemplate("keyway.yaml", limit(8<<20)),
		"another place":    p.Compare("gpu1/train", limit(-1).Environment()),
	} {
		if len(got) != 1 || got[0].Field != keyway.OptionUlimits {
			t.Errorf("%s: %+v", what, got)
		}
	}
	if p.Options = nil; len(p.CompareTemplate("keyway.yaml", limit(-1))) != 0 {
		t.Error("an old lock reports options")
	}
}
