//go:build linux

package words

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"keyway/internal/keyway"
	"keyway/internal/session"
	"keyway/internal/session/holder"
	"keyway/internal/session/view"
)

// nasty is text that a terminal would obey, hide or reverse, or take for lines of
// ours.
const nasty = "n\x1b[31m\x1b]0;t\a\u009b1m\x00\b\r\x7f\u202e\u2066\u200b\u2028\xff\ny\tz"

// fill puts nasty text into every string that v holds.
func fill(v reflect.Value) {
	switch {
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case !v.CanSet():
	case v.Kind() == reflect.String:
		v.SetString(nasty)
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case v.Kind() == reflect.Int64 && v.Type() != reflect.TypeFor[time.Duration]():
		v.SetInt(1)
	}
}

// TestRecordsAreShownPlain checks that a terminal on which sessions are listed executes nothing of
// their records, which every program in a workspace can write.
func TestRecordsAreShownPlain(t *testing.T) {
	var i session.Info
	fill(reflect.ValueOf(&i).Elem())
	living := i
	living.Exit = nil
	for _, list := range [][]session.Info{{i}, {living}} {
		var table, js bytes.Buffer
		errs, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
		if err != nil {
			t.Fatal(err)
		}
		defer errs.Close()
		if err := writeTable(&table, list, time.Now(), 0); err != nil {
			t.Fatal(err)
		}
		if err := writeJSON(&js, list); err != nil {
			t.Fatal(err)
		}
		c := &cli{Process: view.Process{Err: errs}}
		c.complain(&keyway.Error{Message: nasty, Next: nasty})
		c.complain(&holder.StartError{Message: nasty})
		if lines := strings.Count(table.String(), "\n"); lines != 2 {
			t.Errorf("a session is %d lines: %q", lines-1, table.String())
		}
		complained, err := os.ReadFile(errs.Name())
		if err != nil || len(complained) == 0 {
			t.Fatal(err)
		}
		for _, said := range []string{table.String(), js.String(), string(complained), describe(list[0])} {
			if !utf8.ValidString(said) || strings.IndexFunc(said, func(r rune) bool {
				return r != '\n' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp))
			}) >= 0 {
				t.Errorf("it is shown as %q", said)
			}
		}
	}
}

// TestTheStateStaysInANarrowWindow checks that the state stays whole in a narrow window: it has the
// exit code and the signal.
func TestTheStateStaysInANarrowWindow(t *testing.T) {
	now := time.Date(2026, 1, 31, 14, 30, 0, 0, time.UTC)
	var list []session.Info
	for _, end := range []session.ExitRecord{{Code: 137}, {Signal: "SIGKILL"}} {
		end.Started, end.Ended = now.Add(-26*time.Hour), now.Add(-25*time.Hour)
		meta := session.Meta{Name: "a-job", Started: end.Started, Command: []string{"python", strings.Repeat("x", 200)}}
		list = append(list, session.Info{Meta: meta, Last: strings.Repeat("y", 200), Exit: &end})
	}
	for columns := 60; columns <= 100; columns += 20 {
		var table bytes.Buffer
		if err := writeTable(&table, list, now, columns); err != nil {
			t.Fatal(err)
		}
		for _, i := range list {
			if !strings.Contains(table.String(), describe(i)) {
				t.Errorf("in %d columns %q is cut:\n%s", columns, describe(i), table.String())
			}
		}
	}
}
