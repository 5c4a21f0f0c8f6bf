//! HANDED OVER: the spec module (your item 4) is being written by another colleague on branch `spec`, so that both get done sooner.
//! After discover go straight to `lock` (item 5), which must not import `spec` (take platforms, bundle name and version as plain values).
//! Do not write this module; delete this file before you commit.
