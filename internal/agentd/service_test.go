package agentd

import (
	"strings"
	"testing"
)

func TestServiceFilesOfOtherSystems(t *testing.T) {
	s, err := serviceOf("darwin", "/Users/me", "/opt/a & b/keyway")
	if err != nil || len(s.files) != 1 || !strings.Contains(s.files[0].text, "<string>/opt/a &amp; b/keyway</string>") ||
		!strings.Contains(s.start, s.files[0].path) || !strings.Contains(s.end, s.files[0].path) {
		t.Errorf("%+v %v", s, err)
	}
	if _, err := serviceOf("windows", "", ""); err == nil {
		t.Error("a service for Windows")
	}
}
