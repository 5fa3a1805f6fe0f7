#!/bin/sh
# Prints every Secret that the manifests name, from secrets.env:  k8s/examples/secrets.sh | kubectl apply --server-side -f -
set -eu
file="${1:-$(dirname "$0")/secrets.env}"
refuse() { echo "$file: $1" >&2; exit 1; }
[ -f "$file" ] || refuse "is not there; copy secrets.env.example to it and fill it in"

names="S3_ACCESS_KEY_ID S3_SECRET_ACCESS_KEY POSTGRES_USER POSTGRES_PASSWORD MLFLOW_USER MLFLOW_PASSWORD \
MLFLOW_SESSION_KEY RAY_TOKEN"
# read, not sourced: a shell would put its own meaning into a password
while IFS= read -r line || [ "$line" ]; do
  case "$line" in
    '' | '#'*) continue ;;
    *=*) ;;
    *) refuse "a line without '=': it should look like NAME=value" ;;
  esac
  name="${line%%=*}" value="${line#*=}"
  case " $names " in *" $name "*) ;; *) refuse "'$name' is none of: $names" ;; esac
  case "$value" in
    '') refuse "$name is empty" ;;
    change-me*) refuse "$name is still '$value'; choose a value of your own" ;;
  esac
  export "$name=$value"
done < "$file"
for name in $names; do
  [ "$(printenv "$name" || true)" ] || refuse "$name is not set"
done

secret() {
  namespace="$1" name="$2"
  shift 2
  kubectl create secret generic "$name" --namespace "$namespace" --dry-run=client --output yaml "$@"
  echo ---
}

json() { printf '%s' "$1" | sed 's/[\\"]/\\&/g'; }

secret lhrnet lhrnet-s3 --from-literal=AWS_ACCESS_KEY_ID="$S3_ACCESS_KEY_ID" \
  --from-literal=AWS_SECRET_ACCESS_KEY="$S3_SECRET_ACCESS_KEY"
secret lhrnet lhrnet-mlflow --from-literal=MLFLOW_TRACKING_USERNAME="$MLFLOW_USER" \
  --from-literal=MLFLOW_TRACKING_PASSWORD="$MLFLOW_PASSWORD"
secret lhrnet lhrnet-ray --from-literal=auth_token="$RAY_TOKEN"
secret mlflow mlflow-postgres --from-literal=username="$POSTGRES_USER" --from-literal=password="$POSTGRES_PASSWORD"
secret mlflow mlflow-s3 --from-literal=AWS_ACCESS_KEY_ID="$S3_ACCESS_KEY_ID" \
  --from-literal=AWS_SECRET_ACCESS_KEY="$S3_SECRET_ACCESS_KEY"
secret mlflow mlflow-auth --from-literal=MLFLOW_AUTH_ADMIN_USERNAME="$MLFLOW_USER" \
  --from-literal=MLFLOW_AUTH_ADMIN_PASSWORD="$MLFLOW_PASSWORD" \
  --from-literal=MLFLOW_FLASK_SERVER_SECRET_KEY="$MLFLOW_SESSION_KEY"
if [ "${WITH_OBJECT_STORE:-}" ]; then
  secret object-store object-store-s3 --from-literal=s3.json="{\"identities\": [{\"name\": \"lhrnet\", \"credentials\": \
[{\"accessKey\": \"$(json "$S3_ACCESS_KEY_ID")\", \"secretKey\": \"$(json "$S3_SECRET_ACCESS_KEY")\"}], \
\"actions\": [\"Admin\", \"Read\", \"Write\", \"List\", \"Tagging\"]}]}"
fi
