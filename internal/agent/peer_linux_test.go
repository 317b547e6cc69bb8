package agent

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// envList has the test's program list keys at a socket instead of running tests.
const envList = "KEYWAY_TEST_LIST"

func TestMain(m *testing.M) {
	if path := os.Getenv(envList); path != "" {
		fmt.Print(tryList(path))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func tryList(path string) string {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return err.Error()
	}
	c := &client{conn, bufio.NewReader(conn)}
	if _, err := c.ask([]byte{msgList}); err != nil {
		return "closed"
	}
	return "answered"
}

// listAs lists the keys as another user does.
func listAs(ctx context.Context, uid uint32, path string) (string, error) {
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Env = append(os.Environ(), envList+"="+path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	return string(out), err
}
