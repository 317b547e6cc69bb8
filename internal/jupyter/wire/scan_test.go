package wire

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// FuzzMembers compares members with encoding/json.
func FuzzMembers(f *testing.F) {
	for _, s := range []string{
		"{}", ` {"a" : [1, -0.5e+3, true,false , null,"\u00e9\n\\\"x"],"b":{"c":{}} } `, `{"a":01}`, `{"a":1.}`, `{"a":.5}`, `{"a":-}`, `{"a":1e}`, `{"a":"\x"}`, `{"a":"\u12g4"}`,
		"{\"a\":\"\n\"}", `{"a":1,}`, `{,}`, `{"a"}`, `{"a":}`, `{a:1}`, `{"a":[1,]}`, `{"a":[}`, `{"a":nul}`, `{"a":1}x`, `[]`, `"a"`, ``, `{`, `{"`, `{"a`, `{"a":"\`, `{"a":"\ud800\udc00\ud800"}`, "{\"a\":\"\xff\"}", `{"\u0061\n":1,"a":2,"\u0062":3,"b":4}`, "{\"\xff\xff\":1}",
		`{"a":` + strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1) + `}`, `{"a":` + strings.Repeat("[", maxDepth-1) + "1" + strings.Repeat("]", maxDepth-1) + `}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var want map[string]json.RawMessage
		is := json.Unmarshal(data, &want) == nil && bytes.TrimLeft(data, " \t\r\n")[0] == '{'
		got := map[string][]byte{}
		if text(data).members(func(key, value []byte) {
			got[string([]rune(string(key)))] = value // U+FFFD replaces invalid UTF-8
		}) != is {
			t.Fatalf("%.200q is an object: %v", data, is)
		}
		if !is {
			return
		}
		if len(got) != len(want) {
			t.Errorf("%q has %d members, not %d", data, len(got), len(want))
		}
		for key, value := range want {
			if !bytes.Equal(got[key], value) {
				t.Errorf("%q: %q is %q, not %q", data, key, got[key], value)
			}
			var s string
			isString := value[0] == '"' && json.Unmarshal(value, &s) == nil
			if read, ok := unquote(value); ok != isString || read != s {
				t.Errorf("%q is %q, %v, not %q", value, read, ok, s)
			}
		}
	})
}
