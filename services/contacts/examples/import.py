"""Imports a table, a workbook or vCards: first as a dry run, then, with --load, in earnest.

usage: python import.py [--load] FILE contacts|accounts

Needs the stubs that README.md of the project makes for Python, and RAPPORT_TOKEN, an access token of somebody with
contacts.import.*, contacts.contact.* or contacts.account.*, files.file.* and jobs.job.*. RAPPORT_CONTACTS is the address of
the service, 127.0.0.1:8082 if it is not set. Refused rows are written beside the file, in its own format.
"""

import hashlib
import os
import pathlib
import sys
import time

import grpc
from rapport.common.v1 import file_pb2, file_pb2_grpc, job_pb2, job_pb2_grpc
from rapport.contacts.v1 import import_pb2, import_pb2_grpc

CHUNK = 1024 * 1024
RUNNING = (job_pb2.JOB_STATE_PENDING, job_pb2.JOB_STATE_RUNNING)

channel = grpc.insecure_channel(os.environ.get("RAPPORT_CONTACTS", "127.0.0.1:8082"))
files = file_pb2_grpc.FileServiceStub(channel)
jobs = job_pb2_grpc.JobServiceStub(channel)
imports = import_pb2_grpc.ImportServiceStub(channel)
who = [("authorization", "Bearer " + os.environ["RAPPORT_TOKEN"])]


def upload(path):
    data = path.read_bytes()
    file = file_pb2.File(display_name=path.name, size_bytes=len(data))
    name = files.CreateFile(file_pb2.CreateFileRequest(parent="services/contacts", file=file), metadata=who).name
    for offset in range(0, len(data), CHUNK):
        chunk = file_pb2.UploadChunkRequest(name=name, offset=offset, data=data[offset : offset + CHUNK])
        files.UploadChunk(chunk, metadata=who)
    sha256 = hashlib.sha256(data).hexdigest()
    files.CompleteUpload(file_pb2.CompleteUploadRequest(name=name, sha256=sha256), metadata=who)
    return name


def rules(name, collection):
    """What the service suggests; what is matched by nothing becomes new records."""
    seen = imports.InspectImport(import_pb2.InspectImportRequest(file=name, collection=collection), metadata=who)
    for column in seen.columns:
        print(f"  {column.header} → {column.target}")
    told = import_pb2.ImportRules(collection=collection, columns=seen.columns, mode=import_pb2.IMPORT_MODE_CREATE)
    if seen.HasField("match"):
        told.match.CopyFrom(seen.match)
        told.mode = import_pb2.IMPORT_MODE_CREATE_OR_UPDATE
    if seen.HasField("account_match"):
        told.account_match.CopyFrom(seen.account_match)
    return told


def run(name, told, dry_run):
    request = import_pb2.StartImportRequest(file=name, rules=told, dry_run=dry_run)
    job = imports.StartImport(request, metadata=who)
    while job.state in RUNNING:
        print(f"\r  {job.done_count} rows", end="", flush=True)
        time.sleep(0.5)
        job = jobs.GetJob(job_pb2.GetJobRequest(name=job.name), metadata=who)
    if job.state != job_pb2.JOB_STATE_SUCCEEDED:
        sys.exit(f"\n{job.name}: {job_pb2.JobState.Name(job.state)} {job.error.reason} {job.error.message}")
    report = imports.GetImportReport(import_pb2.GetImportReportRequest(job=job.name), metadata=who)
    print(f"\r  {report.row_count} rows: {report.created_count} created, {report.updated_count} updated, "
          f"{report.unchanged_count} as they were, {report.refused_count} refused")
    for refusal in report.refusals:
        print(f"  {refusal.count} × {refusal.reason}")
    return report


def main():
    load = "--load" in sys.argv
    path, collection = [argument for argument in sys.argv[1:] if argument != "--load"]
    path = pathlib.Path(path)
    name = upload(path)
    told = rules(name, collection)
    print("dry run")
    report = run(name, told, dry_run=True)
    if load:
        print("import")
        report = run(name, told, dry_run=False)
    if report.refused_file:
        refused = path.with_name(f"{path.stem}.refused{path.suffix}")
        request = file_pb2.DownloadFileRequest(name=report.refused_file)
        refused.write_bytes(b"".join(part.data for part in files.DownloadFile(request, metadata=who)))
        print(f"  refused rows: {refused}")


main()
