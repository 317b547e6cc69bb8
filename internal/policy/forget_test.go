package policy

import (
	"reflect"
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"10": 10 * time.Second, "1h30m": 90 * time.Minute, "2D": 48 * time.Hour, "1w": 168 * time.Hour, "1h5": 3605 * time.Second} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%q: %v %v", text, got, err)
		}
	}
	for _, text := range []string{"", "h", "1x", "99999999999", "1.5h", "9999w9999w9999w9999w"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestForget(t *testing.T) {
	for _, words := range [][]string{{"idle=1800s", "sleep", "screen-lock"}, {"sleep"}, {"never"}} {
		f, err := ParseForget(words)
		if err != nil || !reflect.DeepEqual(f.Words(), words) {
			t.Errorf("%q: %+v %v", words, f, err)
		}
	}
	for _, words := range [][]string{nil, {""}, {"idle"}, {"idle="}, {"idle=soon"}, {"never", "sleep"}, {"lunch"}} {
		if f, err := ParseForget(words); err == nil {
			t.Errorf("%q: %+v", words, f)
		}
	}
	p, err := Parse([]byte("forget: [idle=30m, sleep]\n"))
	if err != nil || p.Forget() != (Forget{Idle: 30 * time.Minute, Sleep: true}) {
		t.Errorf("%+v %v", p, err)
	}
	var none *Policy
	if none.Forget() != (Forget{}) || none.Upstream() != "" {
		t.Error("no policy forgets, or has an upstream")
	}
}
