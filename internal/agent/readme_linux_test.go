package agent

import (
	"os"
	"strings"
	"testing"
)

// TestTheReadmeEndsTheAgent checks that the command in the README that ends the agent names its
// process.
func TestTheReadmeEndsTheAgent(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), `pkill -x -u "$USER" `+processName+" ") {
		t.Errorf("README.md does not end %s", processName)
	}
}
