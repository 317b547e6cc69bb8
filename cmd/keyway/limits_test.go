package main

import (
	"reflect"
	"testing"

	"keyway/internal/keyway"
)

func TestLimitOptions(t *testing.T) {
	for _, c := range []struct {
		o    limitOptions
		want *keyway.Resources // nil: refused
	}{
		{limitOptions{}, &keyway.Resources{}},
		{limitOptions{cpus: "1.5", memory: "2g", shm: "64m"}, &keyway.Resources{CPUs: 1.5, Memory: 2 << 30, ShmSize: 64 << 20}},
		{limitOptions{memory: "1048576"}, &keyway.Resources{Memory: 1 << 20}},
		{limitOptions{ulimits: []string{"memlock=-1", "nofile=1024:2048"}}, &keyway.Resources{Ulimits: []keyway.Ulimit{{Name: "memlock", Soft: -1, Hard: -1}, {Name: "nofile", Soft: 1024, Hard: 2048}}}},
		{limitOptions{cpus: "0"}, nil},
		{limitOptions{cpus: "-1"}, nil},
		{limitOptions{cpus: "NaN"}, nil},
		{limitOptions{cpus: "Inf"}, nil},
		{limitOptions{cpus: "two"}, nil},
		{limitOptions{memory: "0"}, nil},
		{limitOptions{memory: "-1g"}, nil},
		{limitOptions{memory: "much"}, nil},
		{limitOptions{shm: "0"}, nil},
		{limitOptions{ulimits: []string{"memlock"}}, nil},
		{limitOptions{ulimits: []string{"nosuch=1"}}, nil},
		{limitOptions{ulimits: []string{"nofile=2:1"}}, nil},
	} {
		var got keyway.Spec
		err := c.o.add(&got)
		switch {
		case c.want == nil && (!keyway.Is(err, keyway.Usage) || keyway.AsError(err).Help() == ""):
			t.Errorf("%+v: %+v, %v", c.o, got, err)
		case c.want != nil && (err != nil || !reflect.DeepEqual(got.Resources, *c.want)):
			t.Errorf("%+v became %+v, %v", c.o, got, err)
		}
	}
}

func TestEnvOptions(t *testing.T) {
	t.Setenv("KEYWAY_TEST_TAKEN", "a = b")
	t.Setenv("KEYWAY_TEST_EMPTY", "")
	got, err := parseEnv([]string{"PLAIN=x", "KEYWAY_TEST_TAKEN", "KEYWAY_TEST_EMPTY", "NONE="})
	want := map[string]string{"PLAIN": "x", "KEYWAY_TEST_TAKEN": "a = b", "KEYWAY_TEST_EMPTY": "", "NONE": ""}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"", "=x", "KEYWAY_TEST_NOT_SET"} {
		if got, err := parseEnv([]string{bad}); !keyway.Is(err, keyway.Usage) || keyway.AsError(err).Help() == "" {
			t.Errorf("%q: %q, %v", bad, got, err)
		}
	}
}
