# Mounts for reading only all the way down, which Docker makes where `features` says that the runtime can.
docker_up
dir=/run/$NAME
cleanup() { umount "$dir/below"; rm -rf "$dir"; docker volume rm -f "$NAME"; }
mkdir -p "$dir/below"
mount -t tmpfs below "$dir/below"
try() { docker run $CAPS --rm "$@" scenario:1 sh -c 'touch /m/x 2>/dev/null && echo -n upper; touch /m/below/x 2>/dev/null && echo -n lower; echo'; }
same "$(try --mount "type=bind,src=$dir,dst=/m,readonly,bind-recursive=readonly,bind-propagation=rprivate")" ''
same "$(try -v "$dir:/m:ro")" ''
same "$(try --mount "type=bind,src=$dir,dst=/m,readonly,bind-recursive=writable")" lower
same "$(try --mount "type=bind,src=$dir,dst=/m")" upperlower
docker run $CAPS --rm --mount "type=volume,src=$NAME,dst=/v" scenario:1 sh -c 'mkdir /v/a && echo part >/v/a/b'
same "$(docker run $CAPS --rm --mount "type=volume,src=$NAME,dst=/v,volume-subpath=a" scenario:1 cat /v/b)" part
