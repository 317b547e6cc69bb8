package agentd

import (
	"strings"
	"testing"
)

func TestServiceFilesOfOtherSystems(t *testing.T) {
	files, start, err := serviceFiles("darwin", "/Users/me", "/opt/a & b/keyway")
	if err != nil || len(files) != 1 || !strings.Contains(files[0].text, "<string>/opt/a &amp; b/keyway</string>") || !strings.Contains(start, files[0].path) {
		t.Errorf("%v %v", files, err)
	}
	if _, _, err := serviceFiles("windows", "", ""); err == nil {
		t.Error("a service for Windows")
	}
}
