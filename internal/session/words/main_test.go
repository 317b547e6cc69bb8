//go:build linux

package words

import (
	"os"
	"testing"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/session"
	"keyway/internal/session/holder"
	"keyway/internal/session/joblog"
)

// envProgram makes the test binary the guest program, as which it is started by
// the tests and by itself.
const envProgram = "KEYWAY_TEST_PROGRAM"

// envSettle is how long a line stays unfinished that a program may redraw.
const envSettle = "KEYWAY_TEST_SETTLE"

// envSmallLogs makes logs keep 32 MiB, which jobs of tests soon exceed.
const envSmallLogs = "KEYWAY_TEST_SMALL_LOGS"

func TestMain(m *testing.M) {
	if os.Getenv(envProgram) == "" {
		os.Exit(m.Run())
	}
	if d, err := time.ParseDuration(os.Getenv(envSettle)); err == nil {
		settle, settleHidden, settleFirst = d, d, d
	}
	if os.Getenv(envSmallLogs) != "" {
		joblog.Kept.Segment = 8 << 20
	}
	if len(os.Args) > 1 && os.Args[1] == session.HolderWord {
		os.Exit(holder.Hold(os.Args[2:]))
	}
	os.Exit(CLI(keyway.Home(os.Getenv(keyway.EnvHome)), os.Args[1:]))
}
