package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestOnlyKeysAreAdmitted checks that only a list of public keys with expiry times reaches the
// node.
func TestOnlyKeysAreAdmitted(t *testing.T) {
	for body, admitted := range map[string]bool{
		`[{"line":"ssh-ed25519 AAAA ada","until":"2026-03-01T12:00:00Z"}]`: true,
		`[]`:   false,
		`null`: false,
		`{}`:   false,
		`[{"line":"ssh-ed25519 AAAA\nssh-ed25519 BBBB","until":"2026-03-01T12:00:00Z"}]`: false,
		`[{"line":"restrict ssh-ed25519 AAAA","until":"2026-03-01T12:00:00Z"}]`:          false,
		`[{"line":"ssh-ed25519 AAAA","until":"soon"}]`:                                   false,
		`[{"line":"ssh-ed25519 AAAA","forever":true}]`:                                   false,
	} {
		node, answer := &notingNode{}, httptest.NewRecorder()
		NewHandler(node).ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/v1/workspaces/train/keys", strings.NewReader(body)))
		if asked := len(node.noted()) == 1; asked != admitted || (answer.Code == 200) != admitted {
			t.Errorf("%s: the node was asked %q, the answer has status %d", body, node.noted(), answer.Code)
		}
	}
}
