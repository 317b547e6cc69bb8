//go:build linux

package guest

import (
	"context"
	"io"
	"os"

	"keyway/internal/keyway"
	"keyway/internal/sftp"
)

// exitProtocol is the exit status of sftp-server if its client breaks the protocol.
const exitProtocol = 255

// serveSFTP serves the SFTP subsystem in this process. Relative paths start at the
// process's own directory, which serve has set.
func (s *sessionChannel) serveSFTP() {
	ctx, cancel := context.WithCancel(s.conn.ctx)
	defer cancel()
	s.work.Go(func() { // a copy between two files of the workspace ends with its channel
		<-s.gone
		cancel()
	})
	account := s.conn.server.account
	client := struct {
		io.Reader
		io.Writer
	}{s.channel, s.prompt(s.channel)}
	config := sftp.Config{User: account.Name, Home: account.Home, CopyID: func() { s.complain(errCopyID) }}
	if err := sftp.Serve(ctx, client, config); err != nil {
		s.conn.server.log.warn("sftp", "error", err)
		s.finish(exitProtocol)
		return
	}
	s.finish(0)
}

// filesMain serves the files of the workspace to any user that the engine lets start
// programs in it.
func filesMain(keyway.Home, []string) int {
	client := struct {
		io.Reader
		io.Writer
	}{os.Stdin, os.Stdout}
	if sftp.Serve(context.Background(), client, sftp.Config{}) != nil {
		return exitProtocol
	}
	return 0
}
