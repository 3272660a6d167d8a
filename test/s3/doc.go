// Package s3 pins the S3 server that tests write backups to: a module of its own, for it is larger
// than the gateway. make ops builds it.
package s3
