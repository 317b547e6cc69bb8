package keyway

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// texts calls each for every text that a value of the type can hold, with a value in which only the
// text at path is set.
func texts(t reflect.Type, text string, each func(path string, value reflect.Value)) {
	value := reflect.New(t).Elem()
	switch t.Kind() {
	case reflect.String:
		value.SetString(text)
		each("", value)
	case reflect.Pointer:
		texts(t.Elem(), text, func(path string, of reflect.Value) {
			p := reflect.New(t.Elem())
			p.Elem().Set(of)
			each(path, p)
		})
	case reflect.Slice:
		texts(t.Elem(), text, func(path string, of reflect.Value) {
			each(path+"[1]", reflect.Append(value, reflect.Zero(t.Elem()), of))
		})
	case reflect.Map:
		texts(t.Key(), text, func(_ string, key reflect.Value) {
			m := reflect.MakeMap(t)
			m.SetMapIndex(key, reflect.Zero(t.Elem()))
			each(" key", m)
		})
		texts(t.Elem(), text, func(_ string, of reflect.Value) {
			m := reflect.MakeMap(t)
			m.SetMapIndex(reflect.ValueOf("KEY").Convert(t.Key()), of)
			each(" value", m)
		})
	case reflect.Struct:
		for i := range t.NumField() {
			if !t.Field(i).IsExported() {
				continue
			}
			texts(t.Field(i).Type, text, func(path string, of reflect.Value) {
				with := reflect.New(t).Elem()
				with.Field(i).Set(of)
				each("."+t.Field(i).Name+path, with)
			})
		}
	}
}

// TestEveryTextThatIsSent checks each text of each request with bytes that JSON cannot carry.
func TestEveryTextThatIsSent(t *testing.T) {
	found := map[string]bool{}
	for _, of := range []reflect.Type{reflect.TypeFor[Spec](), reflect.TypeFor[Adoption](), reflect.TypeFor[Pull](), reflect.TypeFor[[]EntryKey](), reflect.TypeFor[[]Name]()} {
		for _, bad := range []string{"/tmp/v\xffx", "a\x00b", "\xed\xa0\x80"} {
			texts(of, bad, func(path string, v reflect.Value) {
				found[path] = true
				err := CheckTexts(v.Interface())
				if !Is(err, Usage) {
					t.Errorf("%v%s is %q: %v", of, path, bad, err)
				} else if quoted := strings.Contains(err.Error(), strings.Trim(fmt.Sprintf("%q", bad), `"`)); quoted == strings.Contains(path, "Login.") {
					t.Errorf("%v%s: %v", of, path, err)
				}
			})
		}
		texts(of, "größe \U0001F600 \uFFFD\n", func(path string, v reflect.Value) {
			if strings.HasSuffix(path, "key") {
				return // whose names are lines
			}
			if err := CheckTexts(v.Interface()); err != nil {
				t.Errorf("%v%s: %v", of, path, err)
			}
		})
	}
	for _, path := range []string{".Files.Mounts.Source[1]", ".Process.Env key", ".Process.Env value", ".Command[1]", ".Origin.Labels value", ".Login.Password"} {
		if !found[path] {
			t.Errorf("%s was not tried: %v", path, found)
		}
	}
}

// TestTextsSayWhere checks that an error names the option and the value, as docker run does.
func TestTextsSayWhere(t *testing.T) {
	for want, s := range map[string]Spec{
		`volume: "/v\xff" is not UTF-8`:  {Files: Files{Mounts: []Mount{{Source: "/v\xff"}}}},
		`env: "A\xff" is not UTF-8`:      {Process: Process{Env: map[string]string{"A\xff": ""}}},
		`env "A": "\xff" is not UTF-8`:   {Process: Process{Env: map[string]string{"A": "\xff"}}},
		`workdir: "/w\xff" is not UTF-8`: {Files: Files{Workdir: "/w\xff"}},
		`command: "a\x00b" has a NUL`:    {Command: []string{"a\x00b"}},
		`label: "l\xff" is not UTF-8`:    {Origin: Origin{Labels: map[string]string{"l\xff": ""}}},
	} {
		if err := CheckTexts(s); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestTextsAreValidated checks that the place validates texts, too.
func TestTextsAreValidated(t *testing.T) {
	for what, change := range map[string]func(*Spec){
		"a NUL in a mount":       func(s *Spec) { s.Mounts = []Mount{{Source: "/a\x00", Target: "/x"}} },
		"a newline in a label":   func(s *Spec) { s.Labels = map[string]string{"x\n": ""} },
		"a newline in a name":    func(s *Spec) { s.Env = map[string]string{"A\nB": ""} },
		"no UTF-8 in a variable": func(s *Spec) { s.Env = map[string]string{"A": "\xff"} },
	} {
		s := Spec{Name: "x", Access: Access{AuthorizedKeys: []string{"ssh-ed25519 AAAA"}}}
		if change(&s); !Is(s.Validate(), Usage) {
			t.Errorf("%s: accepted", what)
		}
	}
}
