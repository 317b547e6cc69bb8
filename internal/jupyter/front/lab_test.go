package front

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestExtended checks that the extension is added behind the existing extensions of a page, and
// that the rest of the page stays unchanged.
func TestExtended(t *testing.T) {
	const head, tail = "<!DOCTYPE html><html><head>\n" + configOpen + "\n", "\n</script>\n<script src=\"x\"></script></html>"
	config := `{"baseUrl": "/base/", "fullLabextensionsUrl": "/base/lab/extensions", "n": 12345678901234567890, "appName": "\u003c/script>", "federated_extensions": [{"name": "other", "load": "static/remoteEntry.js", "extension": "./extension", "style": "./style"}]}`
	got := string(extended([]byte(head+config+tail), "/base/"))
	edited, ok := strings.CutPrefix(got, head[:len(head)-1])
	edited, ok2 := strings.CutSuffix(edited, tail[1:])
	if !ok || !ok2 || strings.Contains(edited, "</") {
		t.Fatalf("the page is %s", got)
	}
	var all, before map[string]any
	if json.Unmarshal([]byte(config), &before) != nil || json.Unmarshal([]byte(edited), &all) != nil {
		t.Fatalf("the configuration is %s", edited)
	}
	extensions, _ := all["federated_extensions"].([]any)
	if len(extensions) != 2 || extensions[1].(map[string]any)["name"] != "keyway" || len(all) != len(before) || all["appName"] != "</script>" || !strings.Contains(edited, "12345678901234567890") {
		t.Errorf("the configuration is %s", edited)
	}
	for _, other := range []string{
		"", "<html></html>", head + config, head + "{}" + tail, head + "null" + tail, head + config[:50] + tail,
		head + strings.Replace(config, "/base/lab/extensions", "https://cdn/lab/extensions", 1) + tail,
		head + strings.Replace(config, `[{"name"`, `{"name"`, 1) + tail,
	} {
		if got := string(extended([]byte(other), "/base/")); got != other {
			t.Errorf("%.200q becomes %.300q", other, got)
		}
	}
}

// FuzzExtended checks that a page that was edited can be edited again, whatever the Jupyter server
// has sent.
func FuzzExtended(f *testing.F) {
	f.Add([]byte(configOpen+`{"fullLabextensionsUrl":"/lab/extensions","federated_extensions":[]}</script>`), "/")
	f.Fuzz(func(t *testing.T, page []byte, base string) {
		got := extended(page, base)
		if again := extended(got, base); len(got) != len(page) && len(again) == len(got) {
			t.Errorf("%q is edited once only", page)
		}
	})
}
