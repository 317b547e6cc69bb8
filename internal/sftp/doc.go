// Package sftp serves version 3 of SFTP (draft-ietf-secsh-filexfer-02) on the
// files of the machine it runs on, with the extensions of OpenSSH's PROTOCOL,
// section 4.
//
// OpenSSH's sftp-server is the judge of what every request does and answers: clients are written
// against it. Requests are answered one after the other, so a client that sends many at once finds
// them done in that order. Where this server differs deliberately, the function's comment says so.
package sftp
