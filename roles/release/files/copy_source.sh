# copy_source FROM TO: the files that git lists, or where there is no work tree all but the
# dependencies and the build output. Sourced by the build scripts.
copy_source() {
  mkdir -p "$2"
  (
    cd "$1"
    if git ls-files --error-unmatch -- package.json >/dev/null 2>&1; then
      git ls-files -z --cached --others --exclude-standard
    else
      find . \( -name node_modules -o -name dist \) -prune -o -type f -print0
    fi | tar --create --null --files-from=- --ignore-failed-read
  ) | tar --extract --directory="$2"
}
