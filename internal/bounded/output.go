package bounded

import (
	"fmt"
	"io"
	"os/exec"
	"time"
)

// Output runs a command and returns its standard output. One that prints more bytes than most is
// killed, which is an error, as is an exit status that is not 0.
func Output(cmd *exec.Cmd, most int) ([]byte, error) {
	cmd.WaitDelay = time.Second
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(pipe, int64(most)+1))
	if len(out) > most {
		_ = cmd.Process.Kill()
		err = fmt.Errorf("it is longer than %d bytes", most)
	}
	if ended := cmd.Wait(); err == nil {
		err = ended
	}
	return out[:min(len(out), most)], err
}
