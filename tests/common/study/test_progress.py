from common.study.progress import NoProgress, StudyProgress


def test_no_progress_takes_every_call_and_prints_nothing(capsys):
    progress: StudyProgress = NoProgress()
    progress.plan([("GAN cgan", 1)])
    progress.phase("GAN cgan", 1)
    progress.site("hospital1", "training")
    progress.advance(round=1, contributors=["hospital1"], losses={}, scores={}, seconds=0.0)
    progress.message("finished")
    progress.close()
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""
